"""Largest eigenvalues are those of the dense matrix, and cheap to follow while the weights move."""

import pytest
import torch
from torch import nn

from lowland.measurements.top_eigenvalues import TopEigenvalues
from lowland.operators.gauss_newton import gauss_newton
from lowland.operators.hessian import hessian
from lowland.operators.nme import nme
from lowland.operators.problem import problem

MATRICES = {"hessian": hessian, "gauss_newton": gauss_newton, "nme": nme}
CE = nn.functional.cross_entropy


def of(dtype=torch.float64, steps=30):
    """A net after some training, on two batches."""
    model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 3)).to(dtype)
    x = torch.randn(60, 6, dtype=dtype)
    y = (x[:, :3] + 0.5 * x[:, 3:]).argmax(1)
    p = problem(model, CE, list(zip(x.split(40), y.split(40), strict=True)))
    train(p, steps)
    return p


def train(p, steps, rate=0.3):
    """Steps of gradient descent."""
    for _ in range(steps):
        for w, g in zip(p.weights, p.split(p.gradient()), strict=True):
            w.data.sub_(g, alpha=rate)


def largest(p, kind, k):
    return torch.linalg.eigvalsh(MATRICES[kind](p).dense()).flip(0)[:k].tolist()


@pytest.mark.parametrize("kind", MATRICES)
def test_are_those_of_the_dense_matrix_within_their_bounds(kind):
    p = of()
    found = TopEigenvalues(k=3, of=kind, tol=1e-6).read(p)
    assert [r.name for r in found] == [f"{kind}_lambda_{which}" for which in ("max", 2, 3)]
    for reading, truth in zip(found, largest(p, kind, 3), strict=True):
        assert reading.settings["converged"]
        assert abs(reading.value - truth) <= reading.settings["bound"] + 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["hessian", "gauss_newton"])
def test_the_largest_takes_three_products_after_a_small_step(kind, dtype):
    p, measurement = of(dtype), TopEigenvalues(of=kind)
    cold = measurement.read(p)[0].settings
    assert (cold["warm"], cold["products"] > 3) == (False, True)
    for _ in range(5):
        train(p, 1, rate=0.02)
        reading = measurement.read(p)[0]
        assert (reading.settings["warm"], reading.settings["products"]) == (True, 3)
        assert reading.value == pytest.approx(largest(p, kind, 1)[0], rel=1e-3)


def test_several_take_fewer_products_after_a_small_step():
    p, measurement = of(), TopEigenvalues(k=5)
    cold = measurement.read(p)[0].settings["products"]
    train(p, 1, rate=0.02)
    found = measurement.read(p)
    assert found[0].settings["products"] < cold
    assert [r.value for r in found] == pytest.approx(largest(p, "hessian", 5), rel=1e-3)


def test_each_kind_and_number_starts_from_its_own():
    p = of()
    kinds = [TopEigenvalues(), TopEigenvalues(of="nme"), TopEigenvalues(k=2)]
    assert [one.read(p)[0].settings["warm"] for one in (*kinds, *kinds)] == [False] * 3 + [True] * 3


def test_vectors_of_other_parameters_are_no_start():
    p = of()
    p.warm["1 of hessian"] = torch.ones(7, 1)
    assert not TopEigenvalues().read(p)[0].settings["warm"]


def test_more_than_there_are_parameters_is_refused_by_words():
    with pytest.raises(ValueError, match=r"k must be at most the operator's side 279, got 280"):
        TopEigenvalues(k=280).read(of(steps=0))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"k": 0}, r"k must be at least 1, got 0"),
        ({"of": "fisher"}, r"of must be one of hessian, gauss_newton, nme, got 'fisher'"),
        ({"tol": -1.0}, r"tol must be a finite number >= 0, got -1.0"),
        ({"seed": -1}, r"seed must be at least 0, got -1"),
    ],
)
def test_bad_fields_are_refused_by_words(fields, words):
    with pytest.raises(ValueError, match=words):
        TopEigenvalues(**fields)


def test_a_block_finds_an_eigenvalue_as_often_as_it_is_there():
    x = torch.randn(20, 5, generator=torch.Generator().manual_seed(0)).double()
    p = problem(nn.Linear(5, 3, bias=False).double(), nn.functional.mse_loss, (x, torch.zeros(20, 3).double()))
    found = [reading.value for reading in TopEigenvalues(k=4, block=3).read(p)]
    true = torch.linalg.eigvalsh(2 / 3 * x.T @ x / len(x)).flip(0)
    assert found == pytest.approx([true[0].item()] * 3 + [true[1].item()], rel=1e-3)
