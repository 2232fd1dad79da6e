import pytest
import torch

from estimate.dense import Dense, Diagonal
from lowland.estimate.diagonal import diagonal

float64 = torch.float64
MATRIX = torch.randn(40, 40, dtype=float64, generator=torch.Generator().manual_seed(0))


def test_every_entry_is_unbiased_and_its_error_covers():
    estimates = [diagonal(Dense(MATRIX, symmetric=False), 25, seed) for seed in range(300)]
    values = torch.stack([e.value for e in estimates])
    z = (values - MATRIX.diagonal()) / torch.stack([e.stderr for e in estimates])
    assert ((values.mean(0) - MATRIX.diagonal()).abs() < 4.5 * values.std(0) / 300**0.5).all()
    assert ((z.std(0) > 0.85) & (z.std(0) < 1.3)).all()
    assert (z.abs() > 2).double().mean() < 0.08


def test_a_diagonal_matrix_is_exact():
    values = torch.linspace(-1, 1, 33)
    estimate = diagonal(Diagonal(values), 3)
    torch.testing.assert_close(estimate.value, values, rtol=1e-6, atol=1e-7)
    assert estimate.stderr.max() < 1e-6
    assert (estimate.probes, estimate.products, estimate.gradients) == (3, 3, None)


def test_more_probes_than_a_block_are_one_mean():
    """Against the mean and standard error of all samples at once."""
    from lowland.estimate.rademacher import rademacher

    estimate, Z = diagonal(Dense(MATRIX), 25, seed=3), rademacher(40, 25, seed=3, dtype=float64)
    samples = Z * (MATRIX @ Z)
    torch.testing.assert_close(estimate.value, samples.mean(1), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(estimate.stderr, samples.std(1) / 5, rtol=1e-12, atol=1e-12)
    assert estimate.gradients == 50


def test_bad_input_is_refused_by_words():
    with pytest.raises(ValueError, match="probes must be at least 2, got 1"):
        diagonal(Dense(MATRIX), 1)
    with pytest.raises(ValueError, match=r"must be square, got shape \(40, 3\)"):
        diagonal(Dense(MATRIX[:, :3], symmetric=False))
    with pytest.raises(ValueError, match="must be finite, got nan or inf"):
        diagonal(Diagonal(torch.tensor([1.0, float("inf")])))
