from dataclasses import replace

import pytest
import torch

from lowland.experiments.teacher_student import Lesson, Task, squared, train
from lowland.methods.sam import SAM
from lowland.methods.sgd import SGD

SMALL = Task(examples=5, tests=10, width=6, steps=20)


def test_students_trained_as_one_are_those_trained_by_themselves():
    lessons = [Lesson.of(SMALL, seed) for seed in (0, 1)]
    ((steps, students, _),) = train(SMALL, lessons, [SAM(rho=0.1), SAM(rho=0.4)], [20])
    assert steps == 20
    for at, rho in enumerate((0.1, 0.4)):
        student = Lesson.of(SMALL, at).student
        optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
        engines = [SAM(rho=rho).bind(student)] * SMALL.guided + [SGD().bind(student)] * SMALL.steps
        for i, engine in zip(lessons[at].order, engines, strict=False):
            x, y = lessons[at].x[i : i + 1], lessons[at].y[i : i + 1]
            engine.backward(lambda x=x, y=y, student=student: squared(student, x, y))
            optimizer.step()
            optimizer.zero_grad()
        for a, b in zip(student.parameters(), students.unstack(at).parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_a_lesson_is_its_seeds_alone_and_lies_on_the_sphere():
    one, again, other = (Lesson.of(SMALL, seed) for seed in (0, 0, 1))
    assert torch.equal(one.x, again.x)
    assert torch.equal(one.order, again.order)
    assert not torch.equal(one.y, other.y)
    torch.testing.assert_close(one.fresh_x.norm(dim=1), torch.ones(10, dtype=torch.float64))


def test_a_run_that_diverges_is_seen_and_the_others_go_on():
    lessons = [Lesson.of(SMALL, seed) for seed in (0, 1)]
    lost = replace(lessons[1], student=Lesson.of(SMALL, 1).student)
    with torch.no_grad():
        lost.student.outer.weight.mul_(1e6)
    ((_, sound, _),) = train(SMALL, lessons, [SAM(rho=0.1)] * 2, [20])
    ((_, sick, worst),) = train(SMALL, [lessons[0], lost], [SAM(rho=0.1)] * 2, [20])
    pairs = zip(sound.unstack(0).parameters(), sick.unstack(0).parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert (worst < 1e6).tolist() == [True, False]


@pytest.mark.parametrize(("number", "steps"), [(1, [11, 20]), (2, [4, 11, 20]), (3, [3, 7, 11, 20])])
def test_looks_are_evenly_spread_in_their_logarithm_and_where_plain_steps_begin(number, steps):
    assert SMALL.looks(number) == steps
