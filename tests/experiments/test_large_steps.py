from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from lowland.experiments.large_steps import FACTOR, FITTED, SMALL, large_step, schedule, trained
from lowland.experiments.sparse_target import SparseTarget
from lowland.experiments.students import Students

DIAGONAL = SparseTarget(inputs=8, nonzero=2, examples=6, tests=20, steps=400)
TWO = Students(inputs=2, teacher=(2,), student=(4,), scales=(0.5, 0.0), examples=6, tests=20, steps=400)
THREE = Students(
    inputs=3,
    teacher=(2, 2),
    student=(5, 4),
    scales=(0.8, 0.8, 0.8),
    biases=True,
    examples=6,
    tests=20,
    steps=400,
    growth=6.0,
)
ALL = pytest.mark.parametrize("task", [DIAGONAL, TWO, THREE], ids=["diagonal", "two", "three"])


def last(task, seeds, schedules, sizes):
    for _, weights in trained(task, seeds, schedules, sizes, "cpu"):
        found = weights
    return [weight.detach() for weight in found]


def constant(task, seed, size, steps):
    return last(task, [seed], torch.ones(steps, 1).double(), torch.tensor([[size]]).double())


def survived(task, seed, size):
    """Whether one training alone, with large steps for half of it, ends below the bound."""
    weights = last(task, [seed], schedule(task.steps, 0.5, task.growth)[:, None], torch.tensor([[size]]).double())
    x, y, _, _ = task.data(seed)
    return (task.answers(weights, x[None]) - y).square().mean() < FITTED * (y - y.mean()).square().mean()


@pytest.mark.parametrize(("steps", "share"), [(10, 0.3), (40, 0.1), (7, 0.5), (1000, 0.1)])
def test_the_steps_decay_at_the_share_of_training(steps, share):
    found = schedule(steps, share)
    large = sum(step < share * steps - 1e-9 for step in range(steps))
    assert found.tolist() == [1.0] * large + [SMALL] * (steps - large)


def test_without_large_steps_all_are_small():
    assert set(schedule(30, 0.0, growth=6.0).tolist()) == {SMALL}


def test_large_steps_grow_with_the_root_of_time_towards_the_end_of_all_training():
    found = schedule(100, 0.5, growth=6.0)
    assert (found[0], found[25]) == (1.0, pytest.approx(1 + 5 * 0.5))
    assert found[49] > found[48] > SMALL == found[50]


@ALL
def test_arms_and_seeds_are_trained_as_if_alone(task):
    draw = torch.Generator().manual_seed(0)
    schedules = torch.rand(20, 3, generator=draw, dtype=torch.float64)
    sizes = 0.1 * torch.rand(3, 2, generator=draw, dtype=torch.float64)
    together = last(task, [5, 6], schedules, sizes)
    alone = last(task, [6], schedules[:, 2:], sizes[2:, 1:])
    for all_of_them, one in zip(together, alone, strict=True):
        torch.testing.assert_close(all_of_them[5:], one, rtol=1e-12, atol=1e-12)


def test_a_step_is_that_of_sgd_on_half_the_squared_error():
    eta, (u, v) = 0.1, DIAGONAL.start(0)
    x, y, _, _ = DIAGONAL.data(0)
    after_u, after_v = constant(DIAGONAL, 0, eta, 1)
    steps = [
        (u - eta * (x_i @ (u * v)[0] - y_i) * v * x_i, v - eta * (x_i @ (u * v)[0] - y_i) * u * x_i)
        for x_i, y_i in zip(x, y, strict=True)
    ]
    assert any(torch.allclose(after_u[0], a) and torch.allclose(after_v[0], b) for a, b in steps)


@ALL
def test_the_large_step_is_nine_tenths_of_the_largest_that_is_survived_and_is_survived(task):
    (size,) = large_step(task, [4], 0.5, "cpu").tolist()
    assert size > 0
    larger = [survived(task, 4, size * FACTOR**more) for more in range(5)]
    assert larger[:2] == [True, True]
    assert not any(a and b for a, b in pairwise(larger[1:]))


def test_seeds_are_given_steps_of_their_own():
    found = large_step(DIAGONAL, [3, 4], 0.5, "cpu")
    assert found.tolist() == [large_step(DIAGONAL, [seed], 0.5, "cpu").item() for seed in (3, 4)]


def test_no_step_is_survived_where_the_smallest_is_too_large():
    assert large_step(replace(DIAGONAL, smallest=1e4), [0], 0.5, "cpu").tolist() == [0.0]


def test_no_step_is_survived_where_all_are_too_small_to_learn():
    assert large_step(replace(DIAGONAL, smallest=1e-9), [0], 0.5, "cpu").tolist() == [0.0]
