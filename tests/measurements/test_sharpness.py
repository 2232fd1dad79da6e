import pytest
import torch
from scipy.optimize import brentq
from torch import nn

from lowland.measurements.sharpness import Sharpness
from lowland.operators.problem import problem

N, D = 30, 6


def regression(trained=False, batch=N):
    """A linear model on random data, and the loss's gradient and Hessian in closed form."""
    x, y = torch.randn(N, D, dtype=torch.float64), torch.randn(N, 1, dtype=torch.float64)
    model = nn.Linear(D, 1, bias=False).double()
    if trained:
        model.weight.data = torch.linalg.lstsq(x, y).solution.T
    data = list(zip(x.split(batch), y.split(batch), strict=True))
    H, g = 2 * x.T @ x / N, (2 * x.T @ (model(x) - y) / N).detach()[:, 0]
    return problem(model, nn.functional.mse_loss, data), g, H


def largest_rise(g, H, rho):
    """Of g'e + e'He / 2 over |e| <= rho, for a positive H: from the secular equation |(mu - H)^-1 g| = rho."""
    values, vectors = torch.linalg.eigh(H)
    c = vectors.T @ g
    low = values[-1].item()
    mu = brentq(lambda m: (c / (m - values)).norm().item() - rho, low + 1e-9, low + 1e6, xtol=1e-14)
    e = vectors @ (c / (mu - values))
    return (g @ e + e @ H @ e / 2).item()


def rises(p, **fields):
    return [reading.value for reading in Sharpness(**fields).read(p)]


@pytest.mark.parametrize("rho", [0.01, 0.5, 3.0])
def test_of_a_quadratic_loss_is_what_the_secular_equation_says(rho):
    p, g, H = regression()
    (reading,) = Sharpness(rho=rho, steps=200, restarts=3).read(p)
    assert reading.value == pytest.approx(largest_rise(g, H, rho), rel=1e-6)
    assert reading.settings["gap"] <= 1e-6 * reading.value


def test_at_a_minimum_it_is_half_the_largest_eigenvalue_times_the_square_of_rho():
    p, _, H = regression(trained=True)
    assert rises(p, rho=0.3, steps=200) == pytest.approx([0.045 * torch.linalg.eigvalsh(H)[-1].item()], rel=1e-6)


def test_in_a_cube_a_quadratic_is_highest_at_a_corner():
    p, g, H = regression()
    corners = 0.2 * torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * D)
    highest = (corners @ g + ((corners @ H) * corners).sum(1) / 2).max().item()
    assert rises(p, rho=0.2, norm="linf", restarts=20) == pytest.approx([highest], rel=1e-9)


def test_an_adaptive_ball_is_the_plain_one_of_scaled_weights():
    p, g, H = regression()
    c = p.model.weight.detach().abs()[0]
    found = rises(p, rho=0.5, adaptive=True, steps=200, restarts=3)
    assert found == pytest.approx([largest_rise(c * g, c[:, None] * H * c, 0.5)], rel=1e-6)


def relu_net(scale=1.0):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    x, y = torch.randn(20, 4, dtype=torch.float64), torch.arange(20) % 3
    with torch.no_grad():
        for p, factor in zip(model.parameters(), (scale, scale, 1 / scale, 1.0), strict=True):
            p *= factor
    return problem(model, nn.functional.cross_entropy, list(zip(x.split(8), y.split(8), strict=True)))


def test_adaptive_sharpness_does_not_change_when_a_pair_of_layers_is_rescaled():
    fields = {"rho": 0.2, "adaptive": True, "restarts": 0}
    assert rises(relu_net(5.0), **fields) == pytest.approx(rises(relu_net(), **fields), rel=1e-9)
    assert rises(relu_net(5.0), rho=0.2) != pytest.approx(rises(relu_net(), rho=0.2), rel=0.1)


def test_normalised_adaptive_sharpness_does_not_change_with_the_scale_of_the_head():
    fields = {"rho": 0.2, "adaptive": True, "restarts": 0, "normalise": True}
    one, other = relu_net(), relu_net()
    with torch.no_grad():
        for p in other.model[2].parameters():
            p *= 7
    assert rises(other, **fields) == pytest.approx(rises(one, **fields), rel=1e-9)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_grows_with_rho_and_is_never_negative(norm):
    found = rises(relu_net(), rho=(0.0, 0.001, 0.01, 0.1, 0.3, 1.0), norm=norm, steps=5)
    assert found[0] == 0
    assert found == sorted(found)
    assert found[1] > 0


def test_more_steps_and_restarts_never_find_less():
    by_steps = [rises(relu_net(), rho=0.5, steps=steps)[0] for steps in (1, 3, 10, 30)]
    by_restarts = [rises(relu_net(), rho=0.5, restarts=restarts)[0] for restarts in (0, 1, 4)]
    assert by_steps == sorted(by_steps)
    assert by_restarts == sorted(by_restarts)


def test_a_stationary_point_is_left_by_the_random_starts_alone():
    model = nn.Linear(D, 1, bias=False).double()
    nn.init.zeros_(model.weight)
    p = problem(model, nn.functional.mse_loss, (torch.randn(N, D).double(), torch.zeros(N, 1).double()))
    assert rises(p, restarts=0) == [0.0] < rises(p, restarts=1)


def test_m_sharpness_is_the_mean_over_groups_each_with_a_ball_of_its_own():
    whole, _, _ = regression(batch=7)
    groups = [(batch[0], batch[1]) for batch in zip(*(t.split(10) for t in rows(whole)), strict=True)]
    alone = [rises(problem(whole.model, whole.loss, group), restarts=0)[0] for group in groups]
    (reading,) = Sharpness(m=10, restarts=0).read(whole)
    assert reading.value == pytest.approx(sum(alone) / 3, rel=1e-9)
    assert reading.stderr == pytest.approx(torch.tensor(alone).std().item() / 3**0.5, rel=1e-5)
    assert reading.value > rises(whole, restarts=0)[0]


def rows(p):
    batches = list(p.batches)
    return torch.cat([b.inputs for b in batches]), torch.cat([b.targets for b in batches])


def test_fewer_parameters_rise_less():
    whole = relu_net()
    data = [(b.inputs, b.targets) for b in whole.batches]
    part = problem(whole.model, whole.loss, data, params="0.*")
    assert 0 < rises(part, rho=0.5)[0] < rises(whole, rho=0.5)[0]


def test_says_what_it_cost_in_gradients():
    p, calls = relu_net(), []
    p.model.register_forward_hook(lambda *_: calls.append(1))
    (*_, last) = Sharpness(rho=(0.1, 0.2), steps=4, restarts=2).read(p)
    assert last.settings["gradients"] == 1 + 2 * (4 * 3 + 2) == len(calls) / len(list(p.batches))


def test_a_loss_that_overflows_is_refused_by_words():
    p, _, _ = regression()
    with pytest.raises(ValueError, match=r"must be finite where they are measured, got inf: stay closer"):
        rises(p, rho=1e300)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rho": -0.1}, r"rho must be a finite number >= 0, got -0.1"),
        ({"rho": (0.1, float("nan"))}, r"rho must be a finite number >= 0, got nan"),
        ({"rho": ()}, r"rho must be a radius or several, got none"),
        ({"norm": "l1"}, r"norm must be one of l2, linf, got 'l1'"),
        ({"m": 0}, r"m must be at least 1, got 0"),
        ({"steps": 0}, r"steps must be at least 1, got 0"),
        ({"restarts": -1}, r"restarts must be at least 0, got -1"),
    ],
)
def test_bad_fields_are_refused_by_words(fields, words):
    with pytest.raises(ValueError, match=words):
        Sharpness(**fields)


def test_groups_larger_than_the_data_are_refused_by_words():
    with pytest.raises(ValueError, match=r"m must be at most the number of examples, 20, got 21"):
        rises(relu_net(), m=21)
