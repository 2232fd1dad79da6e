import pytest

from lowland.experiments.first_order import closed_form_of, errors, errors_within_reach
from lowland.experiments.teacher_student import Lesson, Task
from lowland.theory.sam_two_layer import reach

SMALL = Task(examples=5, tests=10, width=6, steps=20)


def test_the_distance_from_the_closed_form_is_of_second_order():
    lesson = Lesson.of(SMALL, 0)
    net = closed_form_of(lesson.student)
    x, y = max(zip(lesson.x, lesson.y.tolist(), strict=True), key=lambda pair: reach(net, *pair))
    large, small = (errors(lesson.student, x, y, rho) for rho in (1e-3, 1e-4))
    assert large["error"] / small["error"] == pytest.approx(100, rel=0.05)
    assert large["of_plain"] / small["of_plain"] == pytest.approx(10, rel=0.05)
    assert all(w.grad is None for w in lesson.student.parameters())


def test_radii_at_which_a_unit_switches_off_are_left_out():
    lesson = Lesson.of(Task(tests=10, steps=20), 0)
    net = closed_form_of(lesson.student)
    furthest = max(reach(net, x, y) for x, y in zip(lesson.x, lesson.y.tolist(), strict=True))
    found = errors_within_reach(lesson, [furthest / 4, furthest / 2, 2 * furthest])
    assert list(found) == [furthest / 4, furthest / 2]
    assert all(sizes["error"] < sizes["of_plain"] for sizes in found.values())
