from dataclasses import replace

import pytest
import torch

from lowland.runs.large_steps import FACTOR, Regression, large_step, network, trained

DIAGONAL = Regression(kind="diagonal", inputs=8, examples=6, tests=20, teacher=2, steps=40)
STUDENTS = Regression(kind="two layers", inputs=2, examples=6, tests=20, teacher=2, width=4, steps=40)
BOTH = pytest.mark.parametrize("task", [DIAGONAL, STUDENTS])


def last(task, seeds, etas):
    for _, weights in trained(task, seeds, etas, "cpu"):
        found = weights
    return [weight.detach() for weight in found]


@BOTH
def test_the_module_answers_as_the_replica(task):
    weights = last(task, [0, 1], torch.full((10, 1, 2), 0.1).double())
    x = task.data(1)[0]
    expected = task.answers(weights, x.expand(2, -1, -1))[1]
    torch.testing.assert_close(network(task, [w[1] for w in weights])(x)[:, 0], expected)


@BOTH
def test_arms_and_seeds_are_trained_as_if_alone(task):
    etas = 0.1 * torch.rand(20, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    together = last(task, [5, 6], etas)
    alone = last(task, [6], etas[:, 2:, 1:])
    for all_of_them, one in zip(together, alone, strict=True):
        torch.testing.assert_close(all_of_them[5:], one, rtol=1e-12, atol=1e-12)


def test_a_step_is_that_of_sgd_on_half_the_squared_error():
    eta, (u, v) = 0.1, DIAGONAL.start(0)
    x, y, _, _ = DIAGONAL.data(0)
    after_u, after_v = last(DIAGONAL, [0], torch.full((1, 1, 1), eta).double())
    steps = [
        (u - eta * (x_i @ (u * v)[0] - y_i) * v * x_i, v - eta * (x_i @ (u * v)[0] - y_i) * u * x_i)
        for x_i, y_i in zip(x, y, strict=True)
    ]
    assert any(torch.allclose(after_u[0], a) and torch.allclose(after_v[0], b) for a, b in steps)


def test_students_start_without_answers_and_targets_are_not_zero():
    x, y, _, _ = STUDENTS.data(0)
    start = [weight[None] for weight in STUDENTS.start(0)]
    assert not task_answers(start, x).any()
    assert y.any()
    torch.testing.assert_close(x.norm(dim=1), torch.ones(6, dtype=x.dtype))


def task_answers(weights, x):
    return STUDENTS.answers(weights, x[None])


def test_the_target_of_a_diagonal_network_is_sparse_and_of_unit_length():
    x, y, fresh, more = replace(DIAGONAL, tests=50).data(0)
    target = torch.linalg.lstsq(fresh, more).solution
    assert target.norm().item() == pytest.approx(1)
    torch.testing.assert_close(target[2:], torch.zeros(6, dtype=x.dtype), rtol=0, atol=1e-10)
    torch.testing.assert_close(x @ target, y)


@BOTH
def test_the_large_step_and_the_next_are_survived_and_the_one_after_is_not(task):
    (top,) = large_step(task, [3], 40, "cpu").tolist()
    losses = []
    for eta in (top, top * FACTOR, top * FACTOR**2):
        weights = last(task, [3], torch.full((40, 1, 1), eta).double())
        x, y, _, _ = task.data(3)
        losses.append((task.answers(weights, x[None]) - y).square().mean().item())
    assert max(losses[:2]) < 1e3
    assert not losses[2] < 1e3


def test_no_step_is_survived_where_the_smallest_is_too_large():
    assert large_step(replace(DIAGONAL, smallest=1e4), [0], 40, "cpu").tolist() == [0.0]


def test_an_unknown_kind_is_refused_by_words():
    with pytest.raises(ValueError, match="kind must be one of diagonal, two layers, got 'deep'"):
        replace(DIAGONAL, kind="deep")
