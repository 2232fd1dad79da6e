import pytest
import torch

from lowland.estimate.rademacher import rademacher


def test_entries_are_signs_and_columns_lie_together():
    for n in (1, 7, 64, 1001):
        block = rademacher(n, 3)
        assert block.shape == (n, 3)
        assert block.abs().eq(1).all()
        assert block.T.is_contiguous()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_precision_is_the_one_asked_for_and_the_signs_are_the_same(dtype):
    block = rademacher(100, 2, dtype=dtype)
    assert block.dtype == dtype
    torch.testing.assert_close(block.double(), rademacher(100, 2).double(), rtol=0, atol=0)


def test_a_column_depends_on_its_number_and_the_seed_alone():
    whole = rademacher(1000, 6, seed=3)
    assert torch.equal(whole[:, 4:], rademacher(1000, 2, seed=3, first=4))
    assert not torch.equal(whole, rademacher(1000, 6, seed=4))


def test_both_signs_are_as_likely_everywhere_in_a_word():
    """Within 4 standard errors, for the mean of each of the 64 places."""
    block = rademacher(64 * 20_000, 1).view(-1, 64)
    assert block.mean(0).abs().max() < 4 / 20_000**0.5


def test_columns_and_neighbours_are_uncorrelated():
    n, k = 100_000, 20
    Z = rademacher(n, k)
    products = Z.T @ Z / n - torch.eye(k)
    assert products.abs().max() < 4.5 / n**0.5
    assert abs(float((products**2).sum() * n / (k * k - k)) - 1) < 4 * (2 / (k * (k - 1) / 2)) ** 0.5
    for lag in (1, 2, 7, 8, 63, 64):
        assert (Z[lag:] * Z[:-lag]).mean(0).abs().max() < 4.5 / n**0.5
