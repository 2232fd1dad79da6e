import torch

from lowland.observe.scatter import Scatter, add_gram, centred


def scatter(rows, sizes):
    found = Scatter(rows.shape[1])
    for part in rows.split(sizes):
        found.add(part)
    return found


def dense(rows):
    y = rows.double() - rows.double().mean(0)
    return (y.T @ y).tril()


def test_is_the_centred_second_moment_of_all_rows():
    rows = torch.randn(50, 7, dtype=torch.float64)
    found = scatter(rows, [1, 30, 19])
    torch.testing.assert_close(found.matrix.tril(), dense(rows), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(found.mean, rows.mean(0))


def test_a_huge_offset_costs_no_digits():
    rows = torch.randn(50, 7, dtype=torch.float64) + 1e6
    torch.testing.assert_close(scatter(rows, 13).matrix.tril(), dense(rows), rtol=1e-9, atol=1e-8)


def test_single_precision_rows_with_an_offset_keep_single_precision():
    rows = torch.randn(600, 7) + 1e4
    torch.testing.assert_close(scatter(rows, 200).matrix.tril(), dense(rows), rtol=1e-5, atol=2e-4)


def test_centred_rows_have_zero_mean_even_in_single_precision():
    y, mean = centred(torch.randn(100, 3) + 1e5)
    assert y.double().mean(0).abs().max() < 1e-7
    assert mean.dtype == torch.float64


def test_gram_in_blocks_equals_the_product():
    z, total = torch.randn(5, 600, dtype=torch.float64), torch.zeros(600, 600, dtype=torch.float64)
    add_gram(total, z)
    torch.testing.assert_close(total.tril(), (z.T @ z).tril())
