from math import exp, inf, sqrt

import pytest
import torch
from torch import nn

from lowland.operators.gauss_newton import gauss_newton
from lowland.operators.hessian import hessian
from lowland.operators.nme import nme
from lowland.operators.problem import problem
from lowland.theory.noise_vs_penalty import noise_vs_penalty, widest_noise


def noisy(loss, w, sigma, pairs=20_000):
    """The mean rise of the loss under noise, and its standard error; noise comes with its negative."""
    draw = torch.Generator().manual_seed(0)
    e = sigma * torch.randn(pairs, len(w), generator=draw, dtype=w.dtype)
    rises = (loss(w + e) + loss(w - e)) / 2 - loss(w[None])
    return rises.mean().item(), rises.std().item() / sqrt(pairs)


@pytest.mark.parametrize("sigma", [0.01, 1.0, 30.0])
def test_is_exact_on_a_quadratic_however_wide_the_noise(sigma):
    torch.manual_seed(0)
    A = torch.randn(6, 6, dtype=torch.float64)
    A, b, w = A + A.T, torch.randn(6, dtype=torch.float64), torch.randn(6, dtype=torch.float64)
    mean, error = noisy(lambda w: ((w @ A) * w).sum(1) / 2 + w @ b, w, sigma)
    assert noise_vs_penalty(sigma, A.trace().item()) == pytest.approx(mean, abs=4 * error)


@pytest.mark.parametrize("sigma", [0.05, 0.1, 0.2])
def test_what_is_left_out_is_the_fourth_order(sigma):
    """The mean of a cosine under noise is known: it shrinks by exp(-sigma^2 / 2)."""
    exact = exp(-(sigma**2) / 2) - 1
    assert exact == pytest.approx(noise_vs_penalty(sigma, -1.0) + sigma**4 / 8, abs=sigma**6 / 40)


def test_at_the_widest_noise_the_fourth_order_is_a_tenth():
    sigma = widest_noise(-1.0, 1.0)
    assert sigma**4 / 8 == pytest.approx(0.1 * sigma**2 / 2)
    assert noise_vs_penalty(0.99 * sigma, -1.0, fourth=1.0) < 0
    assert widest_noise(3.0, 0.0) == inf


def test_the_rise_of_a_networks_loss_is_that_of_both_parts_of_its_hessian():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x, y = torch.randn(10, 3, dtype=torch.float64), torch.randint(2, (10,))
    p = problem(model, nn.functional.cross_entropy, (x, y))
    H, G, N = (matrix(p).dense().trace().item() for matrix in (hessian, gauss_newton, nme))
    assert pytest.approx(H) == G + N
    names, weights = zip(*model.named_parameters(), strict=True)

    def loss(rows):
        parts = [
            part.view(-1, *w.shape)
            for part, w in zip(rows.split([w.numel() for w in weights], 1), weights, strict=True)
        ]

        def one(*parts):
            z = torch.func.functional_call(model, dict(zip(names, parts, strict=True)), (x,))
            return nn.functional.cross_entropy(z, y)

        return torch.vmap(one)(*parts)

    w = torch.cat([w.detach().reshape(-1) for w in weights])
    mean, error = noisy(loss, w, 0.01)
    assert noise_vs_penalty(0.01, G, N) == pytest.approx(mean, abs=4 * error, rel=1e-2)
    assert abs(noise_vs_penalty(0.01, G) - mean) > 4 * error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sigma": -0.1, "gauss_newton": 1.0}, "sigma must be a finite number >= 0, got -0.1"),
        (
            {"sigma": 1.0, "gauss_newton": 1.0, "fourth": 1.0},
            r"sigma must be at most 0\.632 for the second order to be enough, got 1",
        ),
        ({"sigma": 0.1, "gauss_newton": 1.0, "nme": -1.0, "fourth": 1.0}, "sigma must be at most 0 for"),
        ({"sigma": 0.1, "gauss_newton": float("nan")}, "gauss_newton must be a finite number, got nan"),
        ({"sigma": 0.1, "gauss_newton": 1.0, "nme": float("inf")}, "nme must be a finite number, got inf"),
    ],
)
def test_bad_arguments_are_refused_by_words(arguments, words):
    with pytest.raises(ValueError, match=words):
        noise_vs_penalty(**arguments)
