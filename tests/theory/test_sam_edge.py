from math import sqrt

import pytest
import torch

from lowland.methods.usam import USAM
from lowland.theory.sam_edge import sam_edge

SETTINGS = [(0.5, 0.3), (0.1, 0.05), (0.1, 2.0), (1.0, 1e-6), (0.2, 0.0)]


class Quadratic(torch.nn.Module):
    """The loss is the sum of ``curvature * w**2 / 2``."""

    def __init__(self, curvatures):
        super().__init__()
        self.curvatures = torch.tensor(curvatures, dtype=torch.float64)
        self.w = torch.nn.Parameter(torch.ones_like(self.curvatures))

    def forward(self):
        return (self.curvatures * self.w**2).sum() / 2


def length_after(curvatures, learning_rate, rho, steps=400):
    """How long the weights are after training from length one a direction."""
    model = Quadratic(curvatures)
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
    engine = USAM(rho=rho).bind(model)
    for _ in range(steps):
        optimizer.zero_grad()
        engine.backward(model)
        optimizer.step()
    return model.w.norm().item()


@pytest.mark.parametrize(("learning_rate", "rho"), SETTINGS)
def test_usam_shrinks_weights_below_the_edge_and_grows_them_above(learning_rate, rho):
    edge = sam_edge(learning_rate, rho)
    assert length_after([0.99 * edge], learning_rate, rho) < 0.1
    assert length_after([1.01 * edge], learning_rate, rho) > 10


def test_the_largest_of_several_curvatures_decides():
    edge = sam_edge(0.1, 0.2)
    assert length_after([0.1 * edge, 0.5 * edge, 0.99 * edge], 0.1, 0.2) < 0.1
    assert length_after([0.1 * edge, 0.5 * edge, 1.01 * edge], 0.1, 0.2) > 10


@pytest.mark.parametrize(("learning_rate", "rho"), SETTINGS)
def test_solves_the_equation_it_is_derived_from(learning_rate, rho):
    edge = sam_edge(learning_rate, rho)
    assert learning_rate * edge * (1 + rho * edge) == pytest.approx(2, rel=1e-12)


def test_is_the_formula_as_published():
    assert sam_edge(0.5, 0.3) == pytest.approx((sqrt(1 + 8 * 0.3 / 0.5) - 1) / (2 * 0.3), rel=1e-12)


def test_falls_from_the_edge_of_gradient_descent_as_rho_grows():
    edges = [sam_edge(0.1, rho) for rho in (0, 0.01, 0.1, 1)]
    assert edges[0] == 2 / 0.1
    assert edges == sorted(edges, reverse=True)


@pytest.mark.parametrize(
    ("learning_rate", "rho", "words"),
    [
        (0.0, 0.1, "learning_rate must be above 0, got 0: without steps"),
        (-0.1, 0.1, "learning_rate must be a finite number >= 0, got -0.1"),
        (0.1, -0.1, "rho must be a finite number >= 0, got -0.1"),
    ],
)
def test_bad_arguments_are_refused_by_words(learning_rate, rho, words):
    with pytest.raises(ValueError, match=words):
        sam_edge(learning_rate, rho)


def test_is_of_any_size():
    assert sam_edge(1e200, 0.1) == pytest.approx(2e-200)
    assert sam_edge(1e-200, 0.0) == pytest.approx(2e200)
