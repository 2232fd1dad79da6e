import pytest
import torch
from torch import nn

from lowland.measurements.average_sharpness import NOISES, AverageSharpness
from lowland.measurements.sharpness import Sharpness
from lowland.operators.problem import problem
from lowland.seeds import generator

D = 6
SHARES = {"gaussian": 1 / 2, "l2": 1 / (2 * (D + 2)), "linf": 1 / 6}


def regression():
    x, y = torch.randn(30, D, dtype=torch.float64), torch.randn(30, 1, dtype=torch.float64)
    model = nn.Linear(D, 1, bias=False).double()
    data = list(zip(x.split(7), y.split(7), strict=True))
    return problem(model, nn.functional.mse_loss, data), 2 * x.T @ x / 30


def within(reading, truth):
    return abs(reading.value - truth) < 4 * reading.stderr < truth


@pytest.mark.parametrize("noise", SHARES)
def test_of_a_quadratic_loss_is_a_share_of_the_trace(noise):
    p, H = regression()
    for reading in AverageSharpness(rho=(0.1, 2.0), noise=noise, samples=400).read(p):
        assert within(reading, SHARES[noise] * reading.settings["rho"] ** 2 * H.trace().item())


def test_adaptive_noise_is_weighted_by_the_squares_of_the_weights():
    p, H = regression()
    truth = (p.model.weight.detach()[0] ** 2 * H.diagonal()).sum().item() / 2 * 0.01
    assert within(AverageSharpness(rho=0.1, adaptive=True, samples=400).read(p)[0], truth)


def test_of_a_linear_loss_is_zero_however_steep():
    model = nn.Linear(3, 1).double()
    p = problem(model, lambda z, y: 1e3 * z.mean(), (torch.randn(5, 3).double(), torch.zeros(5)))
    (reading,) = AverageSharpness().read(p)
    assert abs(reading.value) < 1e-10


def test_all_radii_share_the_draws():
    p, _ = regression()
    one, two = AverageSharpness(rho=(0.1, 0.2)).read(p)
    assert two.value == pytest.approx(4 * one.value, rel=1e-9)
    assert two.stderr == pytest.approx(4 * one.stderr, rel=1e-9)


@pytest.mark.parametrize("noise", ["l2", "linf"])
def test_is_below_the_worst_case_of_the_same_ball(noise):
    p, _ = regression()
    (mean,), (worst,) = AverageSharpness(rho=0.5, noise=noise).read(p), Sharpness(rho=0.5, norm=noise).read(p)
    assert 0 < mean.value < worst.value


@pytest.mark.parametrize(("noise", "mean_square"), [("gaussian", 1.0), ("l2", 1 / (D + 2)), ("linf", 1 / 3)])
def test_noise_is_even_in_all_directions(noise, mean_square):
    draws = torch.stack([NOISES[noise](D, generator(0, "test", i)) for i in range(4000)])
    torch.testing.assert_close(
        draws.T @ draws / 4000, mean_square * torch.eye(D).double(), rtol=0, atol=0.1 * mean_square
    )


def test_noise_in_the_ball_stays_inside_it_and_that_in_the_cube_too():
    draws = [generator(0, "test", i) for i in range(100)]
    assert max(NOISES["l2"](D, draw).norm() for draw in draws) <= 1
    assert max(NOISES["linf"](D, draw).abs().max() for draw in draws) <= 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rho": -1.0}, r"rho must be a finite number >= 0, got -1.0"),
        ({"noise": "cauchy"}, r"noise must be one of gaussian, l2, linf, got 'cauchy'"),
        ({"samples": 1}, r"samples must be at least 2, got 1"),
        ({"seed": -1}, r"seed must be at least 0, got -1"),
    ],
)
def test_bad_fields_are_refused_by_words(fields, words):
    with pytest.raises(ValueError, match=words):
        AverageSharpness(**fields)
