import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lowland.observe.class_scatter import ClassScatter


def scatter(rows, labels, size=16, classes=5):
    found = ClassScatter(classes, rows.shape[1])
    for part, of in zip(rows.split(size), labels.split(size), strict=True):
        found.add(part, of)
    return found


def plain(rows, labels):
    """The sum of the scatters of the classes that occur."""
    parts = [rows[labels == c] - rows[labels == c].mean(0) for c in labels.unique()]
    return sum(part.T @ part for part in parts)


def problem(seed, n=50, d=6):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g, dtype=torch.float64), torch.randint(4, (n,), generator=g)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 60))
def test_equals_the_sum_of_the_classes_own_scatters_however_rows_arrive(seed, size):
    rows, labels = problem(seed)
    found = scatter(rows, labels, size)
    torch.testing.assert_close(found.matrix, plain(rows, labels), rtol=1e-9, atol=1e-12)
    for c in labels.unique().tolist():
        torch.testing.assert_close(found.means[c], rows[labels == c].mean(0), rtol=1e-9, atol=1e-12)
    assert found.counts.tolist() == labels.bincount(minlength=5).tolist()


def test_classes_that_do_not_occur_or_occur_once_add_no_scatter():
    rows = torch.randn(2, 3, dtype=torch.float64)
    found = scatter(rows, torch.tensor([1, 4]))
    assert not found.matrix.any()
    assert found.counts.tolist() == [0, 1, 0, 0, 1]


@pytest.mark.parametrize("size", [1, 10, 200])
def test_a_tiny_scatter_beside_huge_means_keeps_its_digits(size):
    g = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (200,), generator=g)
    noise = 1e-4 * torch.randn(200, 4, generator=g, dtype=torch.float64)
    centres = 1e4 * torch.randn(3, 4, generator=g, dtype=torch.float64)
    found = scatter(centres[labels] + noise, labels, size)
    torch.testing.assert_close(found.matrix, plain(noise, labels), rtol=1e-5, atol=1e-12)


def test_single_precision_rows_are_added_up_in_double():
    rows, labels = problem(0)
    found = scatter(rows.float(), labels)
    torch.testing.assert_close(found.matrix, plain(rows.float().double(), labels), rtol=1e-9, atol=1e-12)
