import pytest
import torch

from lowland.experiments.student_look import LARGE, POSITIVE, student_look
from lowland.experiments.teacher_student import Lesson, Task, squared

LESSON = Lesson.of(Task(examples=5, tests=10, width=6, steps=20), 0)


def test_losses_and_norm_are_those_of_the_student():
    found = student_look(LESSON.student, LESSON, POSITIVE)
    assert found["train_loss"] == squared(LESSON.student, LESSON.x, LESSON.y).item()
    assert found["test_loss"] == squared(LESSON.student, LESSON.fresh_x, LESSON.fresh_y).item()
    weights = torch.cat([w.flatten() for w in LESSON.student.parameters()])
    assert found["norm"] == pytest.approx(weights.norm().item())


def test_rank_and_units_are_those_of_the_hidden_layer():
    student = LESSON.student
    features = student.units(student.inner(LESSON.x)).detach()
    energy = torch.linalg.svdvals(features).square().cumsum(0)
    found = student_look(student, LESSON, POSITIVE)
    assert found["active"] == (features > 0).any(0).sum()
    assert found["rank"] == (energy < 0.9999 * energy[-1]).sum() + 1
    assert found["rank_0.9"] <= found["rank_0.95"] <= found["rank_0.99"] <= found["rank"]
    assert student_look(student, LESSON, LARGE)["active"] == (features.abs() > 0.05).any(0).sum()
    assert found["distinct"] <= found["active"]
