from math import exp

import pytest
import torch

from lowland.experiments.side_by_side import batches, descend, outputs
from lowland.theory.sgd_support import matched_penalty, sgd_support, support_floor, support_rate

ETA, NOISE = 0.05, 0.7


def at_the_fit(inputs=6, hidden=4, replicas=1):
    """A linear network that is wrong by the label noise alone, and whitened data with noise up and down."""
    torch.manual_seed(0)
    w = torch.randn(hidden, 1, dtype=torch.float64)
    W = torch.randn(hidden, inputs, dtype=torch.float64)
    W[:, 2:] -= w @ (w.T @ W[:, 2:]) / w.square().sum()
    x = torch.linalg.qr(torch.randn(40, inputs, dtype=torch.float64)).Q * 40**0.5
    clean = x @ W.T @ w
    x, y = torch.cat([x, x]), torch.cat([clean + NOISE, clean - NOISE])
    weights = [part.repeat(replicas, 1, 1).requires_grad_() for part in (W, w.T)]
    return weights, x, y


def stepped(weights, x, y, eta=ETA):
    """The two weights after one step of gradient descent on the given examples."""
    copies = [weight.detach().clone().requires_grad_() for weight in weights]
    descend(copies, (outputs(copies, x, False) - y).square().mean((1, 2)), eta)
    return [copy.detach()[0] for copy in copies]


def imbalance(W, w):
    return W @ W.T - w.T @ w


def test_single_examples_change_the_imbalance_as_derived():
    weights, x, y = at_the_fit()
    W, w = (weight.detach()[0] for weight in weights)
    changes = [imbalance(*stepped(weights, x[None, i : i + 1], y[None, i : i + 1])) for i in range(len(x))]
    expected = 4 * ETA**2 * NOISE**2 * (6 * w.T @ w - W @ W.T)
    torch.testing.assert_close(torch.stack(changes).mean(0) - imbalance(W, w), expected, rtol=1e-9, atol=1e-12)


def test_gradient_descent_changes_nothing_at_the_fit():
    weights, x, y = at_the_fit()
    for weight, after in zip(weights, stepped(weights, x[None], y[None]), strict=True):
        torch.testing.assert_close(after, weight.detach()[0], rtol=1e-12, atol=1e-12)


def test_irrelevant_columns_lose_the_predicted_share_of_their_squared_norm():
    weights, x, y = at_the_fit()
    W, w = (weight.detach()[0] for weight in weights)
    across = torch.eye(4, dtype=torch.float64) - w.T @ w / w.square().sum()
    before = (across @ imbalance(W, w) @ across).trace()
    steps = [stepped(weights, x[None, i : i + 1], y[None, i : i + 1]) for i in range(len(x))]
    after = torch.stack([(across @ imbalance(*step) @ across).trace() for step in steps]).mean()
    assert (1 - after / before).item() == pytest.approx(2 * support_rate(ETA, NOISE, 1), rel=1e-9)


def test_the_penalty_takes_the_same_share_a_step():
    assert matched_penalty(ETA, NOISE, 8) * ETA == pytest.approx(support_rate(ETA, NOISE, 8), rel=1e-12)


def test_small_steps_hover_at_the_floor():
    weights, x, y = at_the_fit(replicas=200)
    weights[0].data[..., 2:] = 0
    weights[1].data[:], weights[0].data[..., :2] = torch.tensor([[1.0, 0, 0, 0]]), 0
    y = y - y + NOISE * (torch.arange(80)[:, None] < 40).double() * 2 - NOISE
    found = []
    for step, at in zip(range(1500), batches(80, 4, range(200)), strict=False):
        descend(weights, (outputs(weights, x[at], False) - y[at]).square().mean((1, 2)), 0.002)
        found += [weights[0].detach()[..., 2:].square().sum((1, 2)).mean()] if step >= 1000 else []
    floor = support_floor(0.002, NOISE, 4, irrelevant=4)
    assert torch.stack(found).mean().sqrt().item() == pytest.approx(floor, rel=0.05)


def test_is_one_at_the_fit_and_falls_exponentially():
    assert sgd_support(0, ETA, NOISE, 4) == 1
    assert sgd_support(300, ETA, NOISE, 4) == pytest.approx(exp(-2 * ETA**2 * NOISE**2 * 300 / 4))


def test_gradient_descent_and_interpolation_have_no_rate():
    assert support_rate(ETA, NOISE, 40, examples=40) == support_rate(ETA, NOISE, 1, examples=1) == 0
    assert support_rate(ETA, 0.0, 1) == 0


def test_a_batch_drawn_without_repeats_has_less_noise():
    assert support_rate(ETA, NOISE, 8, examples=15) == pytest.approx(support_rate(ETA, NOISE, 8) / 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0.0, 1.0, 4), "learning_rate must be above 0, got 0: without steps nothing shrinks"),
        ((-0.1, 1.0, 4), "learning_rate must be a finite number >= 0, got -0.1"),
        ((0.1, -1.0, 4), "noise must be a finite number >= 0, got -1.0"),
        ((0.1, 1.0, 0), "batch must be at least 1, got 0"),
        ((0.1, 1.0, 4, 3), "examples must be at least the batch of 4, got 3"),
        ((0.5, 1.0, 1), r"4 learning_rate\^2 noise\^2 / batch must be below 1, got 1: the law is of small steps"),
    ],
)
def test_bad_arguments_are_refused_by_words(arguments, words):
    with pytest.raises(ValueError, match=words):
        support_rate(*arguments)


def test_time_and_inputs_are_refused_by_words():
    with pytest.raises(ValueError, match="steps must be a finite number >= 0, got -1"):
        sgd_support(-1, ETA, NOISE, 4)
    with pytest.raises(ValueError, match="irrelevant must be at least 1, got 0"):
        support_floor(ETA, NOISE, 4, irrelevant=0)
