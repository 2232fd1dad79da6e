import math

import pytest
import torch

from estimate.dense import Dense, Diagonal, outliers_over_a_bulk, rotated
from lowland.estimate.density import density
from lowland.estimate.rademacher import rademacher

float64 = torch.float64
SPECTRUM = torch.cat([torch.tensor([9.0, 6.0, -5.0]), torch.linspace(-1, 1, 117)]).double()


def found(**settings):
    return density(Dense(rotated(SPECTRUM)), **{"probes": 4, "steps": 30, **settings})


def test_each_probe_spreads_a_weight_of_one_over_its_nodes():
    d = found()
    assert d.nodes.shape == d.weights.shape == d.bounds.shape == (4, 30)
    torch.testing.assert_close(d.weights.sum(1), torch.ones(4, dtype=float64), rtol=1e-12, atol=0)
    assert (d.weights >= 0).all()
    assert (d.nodes.diff(dim=1) > 0).all()
    assert d.products == 120


def test_with_as_many_steps_as_rows_the_nodes_are_the_eigenvalues():
    d = found(steps=200)
    assert d.nodes.shape == (4, 120)
    torch.testing.assert_close(d.nodes, SPECTRUM.sort().values.expand(4, -1), rtol=0, atol=1e-9)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_moments_are_unbiased_and_their_errors_cover(order):
    spectrum = torch.linspace(-1, 3, 80, dtype=float64)
    true, operator = float((spectrum**order).mean()), Dense(rotated(spectrum))
    moments = [density(operator, probes=10, steps=3, seed=seed).moment(order) for seed in range(200)]
    z = torch.tensor([(m.value - true) / m.stderr for m in moments])
    values = torch.tensor([m.value for m in moments])
    assert abs(values.mean() - true) < 4 * values.std() / 200**0.5
    assert 0.85 < (z.abs() < 2).double().mean() <= 1
    assert 0.8 < z.std() < 1.4


def test_the_smoothed_density_integrates_to_one_and_to_the_true_curve():
    grid, width = torch.linspace(-8, 12, 2001, dtype=float64), 0.5
    curve = found(probes=20, steps=60).at(grid, width)
    true = torch.exp(-(((grid[:, None] - SPECTRUM) / width) ** 2) / 2).mean(1) / (width * math.sqrt(2 * math.pi))
    assert torch.trapezoid(curve.value, grid).item() == pytest.approx(1, abs=1e-9)
    assert ((curve.value - true).abs() <= 5 * curve.stderr + 1e-3).all()


def test_the_outliers_come_from_the_same_products():
    out = found(steps=16).outliers()
    torch.testing.assert_close(out.values, torch.tensor([9.0, 6.0, -5.0], dtype=float64), rtol=1e-3, atol=0)
    assert ((out.values - SPECTRUM[:3]).abs() <= out.bounds).all()
    assert out.seen.tolist() == [4, 4, 4]
    assert out.values.dtype == float64


def test_a_spectrum_without_outliers_has_none():
    out = density(Diagonal(torch.linspace(-1, 1, 3000)), probes=2, steps=20).outliers()
    assert out.values.shape == out.bounds.shape == out.seen.shape == (0,)


def test_the_share_below_zero_is_that_of_the_eigenvalues():
    values = torch.cat([torch.full((30,), -1.0), torch.zeros(50), torch.ones(20)]).double()
    least, most = density(Dense(rotated(values)), probes=50, steps=5).negative()
    assert least.value == most.value
    assert abs(least.value - 0.3) < 4 * least.stderr
    assert density(Dense(rotated(values)), probes=4, steps=5).negative(below=1.5)[1].value == 0


@pytest.mark.parametrize("steps", [6, 12, 24, 48])
@pytest.mark.parametrize("seed", range(3))
def test_the_bounds_of_the_share_below_zero_enclose_that_of_the_vectors_spectrum(steps, seed):
    values = torch.cat([torch.linspace(-1, -1e-4, 40), torch.linspace(1e-5, 1e-3, 400), torch.ones(20)]).double()
    A = rotated(values)
    least, most = density(Dense(A), probes=8, steps=steps, seed=seed).negative()
    z = torch.cat([rademacher(len(values), 1, seed=seed, first=p, dtype=float64) for p in range(8)], 1)
    _, vectors = torch.linalg.eigh(A)
    true = (vectors.T @ z)[:40].square().sum(0).mean() / len(values)
    assert least.value <= true <= most.value
    assert least.value < most.value


@pytest.mark.parametrize("values", [torch.zeros(50), torch.ones(50), torch.ones(1)])
def test_a_space_that_ends_early_keeps_its_weight(values):
    d = density(Diagonal(values), probes=2, steps=5)
    assert d.moment(1).value == pytest.approx(float(values[0]), abs=1e-6)
    assert d.moment(1).stderr < 1e-6


def test_the_same_seed_gives_the_same_nodes():
    one, same, other = found(seed=1), found(seed=1), found(seed=2)
    assert torch.equal(one.nodes, same.nodes)
    assert not torch.equal(one.nodes, other.nodes)


def test_shifting_and_scaling_the_matrix_shifts_and_scales_the_nodes():
    matrix = rotated(SPECTRUM)
    one = density(Dense(matrix), 2, 10)
    other = density(Dense(3 * matrix - 2 * torch.eye(120, dtype=float64)), 2, 10)
    torch.testing.assert_close(other.nodes, 3 * one.nodes - 2, rtol=0, atol=1e-9)
    torch.testing.assert_close(other.weights, one.weights, rtol=0, atol=1e-9)


def test_half_a_million_rows_are_no_trouble_in_single_precision():
    values = outliers_over_a_bulk(500_000, dtype=torch.float32)
    d = density(Diagonal(values), probes=2, steps=12)
    torch.testing.assert_close(
        d.outliers().values[:2], torch.tensor([10.0, 8.0], dtype=float64), rtol=1e-4, atol=0
    )
    assert d.moment(2).value == pytest.approx(float((values**2).mean()), rel=1e-4)


def test_bad_input_is_refused_by_words():
    with pytest.raises(ValueError, match="probes must be at least 2, got 1"):
        found(probes=1)
    with pytest.raises(ValueError, match="steps must be at least 2, got 1"):
        found(steps=1)
    with pytest.raises(ValueError, match="must be symmetric"):
        density(Dense(torch.ones(3, 3), symmetric=False))
    with pytest.raises(ValueError, match="width must be positive, got 0"):
        found().at(torch.zeros(1), 0.0)
    with pytest.raises(ValueError, match="order must be at least 1, got 0"):
        found().moment(0)
    with pytest.raises(ValueError, match=r"must be finite, got nan or inf in product 1"):
        density(Diagonal(torch.full((10,), float("nan"))))
    with pytest.raises(ValueError, match=r"contradict each other by \d+%: switch dropout off"):
        density(Dense(torch.triu(torch.ones(30, 30))))
