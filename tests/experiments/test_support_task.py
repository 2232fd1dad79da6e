from itertools import islice

import pytest
import torch

from lowland.experiments.support_task import TARGETS, SupportTask

TASK = SupportTask(inputs=4, relevant=2, examples=30, hidden=(3,), noise=0.5, learning_rate=0.01, steps=10)


def test_inputs_are_exactly_centred_and_uncorrelated():
    x, _ = TASK.data(0)
    torch.testing.assert_close(x.mean(0), torch.zeros(4, dtype=x.dtype), rtol=0, atol=1e-12)
    torch.testing.assert_close(x.T @ x / len(x), torch.eye(4, dtype=x.dtype), rtol=0, atol=1e-12)


def test_the_noise_goes_up_and_down_on_the_same_input():
    x, y = TASK.data(0)
    torch.testing.assert_close(x[:30], x[30:])
    torch.testing.assert_close(y[:30] - y[30:], torch.ones(30, 1, dtype=y.dtype))
    torch.testing.assert_close((y[:30] + y[30:])[:, 0] / 2, x[:30, :2].sum(1))


def test_every_seed_has_its_own_data():
    x, y = TASK.data_of([3, 5], "cpu")
    assert (x.shape, y.shape) == ((2, 60, 4), (2, 60, 1))
    assert torch.equal(x[1], TASK.data(5)[0])
    assert torch.equal(y[1], TASK.data(5)[1])


def test_targets_are_as_published():
    z = torch.tensor([[0.5, -2.0, 1.0]])
    found = {name: target(z).item() for name, target in TARGETS.items()}
    assert found == pytest.approx({"linear": -0.5, "sine": -0.479426, "staircase": 0.5 + 4 + 1}, rel=1e-5)


def test_batches_are_examples_and_gradient_descent_sees_them_all():
    x, y = (part[None] for part in TASK.data(0))
    inputs, _ = next(TASK.shown(5, x, y, [0]))
    assert inputs.shape == (1, 5, 4)
    assert all((x[0] == row).all(1).any() for row in inputs[0])
    (few, goal), again = islice(TASK.shown(0, x, y, [0]), 2)
    assert few.shape == (1, 5, 4)
    assert few is again[0]
    B = torch.ones(1, 4, 1, dtype=x.dtype)
    torch.testing.assert_close((few @ B - goal).square().mean(), (x @ B - y).square().mean())


def test_an_unknown_target_is_refused_by_words():
    with pytest.raises(ValueError, match="target must be one of linear, sine, staircase, got 'cubic'"):
        SupportTask(
            target="cubic", inputs=4, relevant=2, examples=30, hidden=(3,), noise=0.5, learning_rate=0.01, steps=1
        )
