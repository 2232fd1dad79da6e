"""The Fisher matrices: what they are on average, example by example, and when they are refused."""

import pytest
import torch
from torch import nn

from lowland.operators.fisher import fisher
from lowland.operators.gauss_newton import gauss_newton
from lowland.operators.problem import problem
from operators.networks import NETWORKS, case, log_cosh, mlp

CE, MSE, BCE = (NETWORKS[f"mlp, {name}"][1] for name in ("cross-entropy", "squared error", "binary cross-entropy"))


def summed(loss):
    """Over outputs, and averaged over examples alone."""
    return lambda z, y: loss(z, y) * z.shape[1]


FAMILIES = {
    "categorical": ("mlp, cross-entropy", CE),
    "bernoulli": ("mlp, binary cross-entropy", BCE),
    "gaussian": ("mlp, squared error", MSE),
    "bernoulli, summed": ("mlp, binary cross-entropy", summed(BCE)),
    "gaussian, summed": ("mlp, squared error", summed(MSE)),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_with_drawn_targets_it_is_gauss_newton_on_average(family):
    name, loss = FAMILIES[family]
    found = case(name)
    p = problem(found.model, loss, found.data, check=False)
    v = torch.randn(p.size, dtype=torch.float64)
    likelihood = family.partition(",")[0]
    draws = torch.stack([fisher(p, "mc", likelihood=likelihood, seed=seed) @ v for seed in range(200)])
    expected = gauss_newton(p) @ v
    z = (draws.mean(0) - expected) / (draws.std(0) / len(draws) ** 0.5).clamp(min=1e-12)
    assert z.abs().max() < 4.5  # of some fifty numbers
    assert 0.3 < z.square().mean() < 3


def test_more_draws_come_nearer():
    p = case("mlp, cross-entropy").problem(check=False)
    v = torch.randn(p.size, dtype=torch.float64)
    expected = gauss_newton(p) @ v
    one, many = (
        torch.stack([fisher(p, "mc", samples=k, seed=seed) @ v - expected for seed in range(60)]).norm()
        for k in (1, 16)
    )
    assert 2.5 < one / many < 6  # 4, but for chance


def test_the_same_seed_draws_the_same():
    p = case("mlp, cross-entropy").problem()
    v = torch.ones(p.size, dtype=torch.float64)
    a, b, c = (fisher(p, "mc", seed=seed) for seed in (0, 0, 1))
    torch.testing.assert_close(a @ v, b @ v, rtol=0, atol=0)
    torch.testing.assert_close(a @ v, a @ v, rtol=0, atol=0)
    assert (a @ v - c @ v).norm() > 1e-3 * (a @ v).norm()


@pytest.mark.parametrize(
    "name", ["mlp, cross-entropy", "mlp, squared error", "residual, group norm", "attention", "tied"]
)
def test_the_empirical_one_is_the_mean_of_the_examples_outer_products(name):
    found = case(name)
    p = found.problem()
    each = [(x[i : i + 1], y[i : i + 1]) for x, y in found.data for i in range(len(x))]
    g = torch.stack([problem(found.model, found.loss, one).gradient() for one in each])
    torch.testing.assert_close(fisher(p, "empirical").dense(), g.T @ g / len(each), rtol=1e-9, atol=1e-12)


def test_the_empirical_one_takes_several_outputs():
    found = case("two outputs")
    p = found.problem()
    each = [(x[i : i + 1], y[i : i + 1]) for x, y in found.data for i in range(len(x))]
    g = torch.stack([problem(found.model, found.loss, one).gradient() for one in each])
    torch.testing.assert_close(fisher(p, "empirical").dense(), g.T @ g / len(each), rtol=1e-9, atol=1e-12)


def product(p, **how):
    return fisher(p, "mc", **how) @ torch.ones(p.size, dtype=p.dtype)


@pytest.mark.parametrize(
    ("name", "loss", "likelihood"),
    [
        ("mlp, squared error", MSE, "bernoulli"),
        ("mlp, own loss", log_cosh, "gaussian"),
        ("mlp, cross-entropy", nn.CrossEntropyLoss(label_smoothing=0.1), "categorical"),
        (
            "mlp, binary cross-entropy",
            nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2, 1])),
            "bernoulli",
        ),
    ],
)
def test_a_loss_of_another_distribution_is_refused(name, loss, likelihood):
    found = case(name)
    words = f"must be a multiple of the {likelihood} negative log-likelihood for targets to be drawn, got another"
    with pytest.raises(ValueError, match=words):
        product(problem(found.model, loss, found.data), likelihood=likelihood)


def test_classes_are_not_drawn_for_rows_of_rows():
    x, y = torch.randn(4, 2, 3), torch.randint(3, (4, 2))
    p = problem(mlp(), lambda z, y: nn.functional.cross_entropy(z.flatten(0, -2), y.flatten()), (x, y))
    with pytest.raises(ValueError, match=r"Classes are drawn for outputs of shape \(n, k\), got \(4, 2, 3\)"):
        product(p)


def test_targets_are_not_drawn_for_several_outputs():
    with pytest.raises(ValueError, match=r"one tensor, got a batch of Tensor and outputs of dict"):
        product(case("two outputs").problem())


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"kind": "type1"}, ValueError, "kind must be one of type2, mc, empirical, got 'type1'"),
        ({"likelihood": "poisson"}, ValueError, "likelihood must be one of categorical, bernoulli, gaussian, got"),
        ({"samples": 0}, ValueError, "samples must be at least 1, got 0"),
    ],
)
def test_names_that_are_unknown(how, error, words):
    with pytest.raises(error, match=words):
        fisher(case("mlp, cross-entropy").problem(), **how)
