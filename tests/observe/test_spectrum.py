import numpy as np
import pytest
import torch

from lowland.observe.spectrum import Spectrum

SHAPES = {"rows < width": (40, 90), "rows > width": (700, 60), "square": (50, 50), "one row": (1, 5)}


def spectrum(rows, size=32, **settings):
    found = Spectrum("layer", **settings)
    for part in rows.split(size):
        found.add(part)
    return found


def dense(rows, centre):
    rows = rows.double().numpy()
    rows = rows - rows.mean(0) if centre else rows
    return torch.from_numpy(np.linalg.svd(rows, compute_uv=False))


@pytest.mark.parametrize("offset", [0.0, 3.0, 1e6])
@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_singular_values_are_numpys(shape, centre, offset):
    rows = torch.randn(shape, dtype=torch.float64) * torch.logspace(0, -2, shape[1]) + offset
    found, expected = spectrum(rows).singular_values(centre=centre), dense(rows, centre)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9 * (1 + offset))


def test_a_direction_far_below_a_huge_mean_keeps_its_digits():
    for n, d in SHAPES.values():
        rows = torch.randn(n, d, dtype=torch.float64) + 1e6
        found, expected = spectrum(rows).singular_values(centre=False), dense(rows, False)
        torch.testing.assert_close(found[1:], expected[1:], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [100, 900])
def test_directions_that_vanish_are_exact_zeros(n, dtype):
    rows = (torch.randn(n, 9) @ torch.randn(9, 200) + 2).to(dtype)
    values = spectrum(rows).singular_values(centre=True)
    assert (values > 0).sum() == 9


def test_single_precision_agrees_to_its_stated_digits():
    rows = torch.randn(900, 200) * torch.logspace(0, -2, 200) + 5
    found, expected = spectrum(rows).singular_values(centre=True), dense(rows, True)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)


def test_memory_does_not_grow_with_the_number_of_rows():
    found = Spectrum("layer")
    held = []
    for _ in range(100):
        found.add(torch.ones(64, 20))
        held.append(sum(map(len, found._held)))
    assert max(held) <= 512 + 64
    assert found._scatter.matrix.shape == (20, 20)


def test_rows_are_copied_as_the_model_may_overwrite_them():
    rows = torch.randn(5, 8)
    found = spectrum(rows)
    expected = dense(rows, False)
    rows.zero_()
    torch.testing.assert_close(found.singular_values(centre=False), expected, rtol=1e-5, atol=1e-5)


def test_wide_and_long_is_sketched_but_wide_or_long_is_exact():
    long, wide, both = torch.randn(200, 20), torch.randn(20, 200), torch.randn(200, 200)
    assert [spectrum(rows, limit=50).sketch is not None for rows in (long, wide, both)] == [False, False, True]
    torch.testing.assert_close(
        spectrum(wide, limit=50).singular_values(centre=True)[:-1], dense(wide, True)[:-1], rtol=1e-5, atol=1e-5
    )


def test_the_sketch_does_not_depend_on_how_rows_are_batched():
    rows = torch.randn(200, 200, dtype=torch.float64)
    one, other = (spectrum(rows, size, limit=50).singular_values(centre=True) for size in (7, 200))
    torch.testing.assert_close(one, other)


def test_a_sketch_keeps_large_singular_values_and_the_energy():
    rows = (torch.randn(600, 5) @ torch.randn(5, 2000) + 0.1 * torch.randn(600, 2000)).double()
    found, expected = spectrum(rows, limit=256).singular_values(centre=True), dense(rows, True)
    torch.testing.assert_close(found[:5], expected[:5], rtol=4 * (2 / 256) ** 0.5, atol=0)
    torch.testing.assert_close(found.square().sum(), expected.square().sum(), rtol=0.15, atol=0)


def test_rows_whose_squares_overflow_are_refused_by_words():
    with pytest.raises(ValueError, match=r"layer 'layer' must be below 1e18 in size.*float64"):
        spectrum(1e30 * torch.randn(5, 3)).singular_values(centre=True)
