import numpy as np
import pytest
import torch

from estimate.dense import Dense, Diagonal, outliers_over_a_bulk, rotated
from lowland.estimate.lanczos import Lanczos
from lowland.estimate.meter import Meter


def grown(values, size, block, steps):
    matrix = rotated(values)
    lanczos = Lanczos(Meter(Dense(matrix)), size, block)
    for _ in range(block):
        lanczos.draw()
    for _ in range(steps):
        lanczos.step()
    return matrix, lanczos


def assert_sound(matrix, lanczos):
    """A Q' = Q' H with orthonormal rows."""
    Q, H = lanczos.Q[: lanczos.filled], torch.tensor(lanczos.H[: lanczos.filled, : lanczos.done])
    torch.testing.assert_close(Q @ Q.T, torch.eye(len(Q), dtype=Q.dtype), rtol=0, atol=1e-10)
    torch.testing.assert_close(matrix @ Q[: lanczos.done].T, Q.T @ H, rtol=0, atol=1e-10)


@pytest.mark.parametrize("block", [1, 3])
def test_the_recurrence_holds_before_and_after_a_restart(block):
    matrix, lanczos = grown(torch.linspace(-1, 2, 60), 12, block, 12)
    assert_sound(matrix, lanczos)
    lanczos.restart(lanczos.ritz().vectors[:, -7:])
    assert (lanczos.done, lanczos.filled) == (7, 7 + block)
    assert_sound(matrix, lanczos)
    for _ in range(5):
        lanczos.step()
    assert_sound(matrix, lanczos)


def test_residuals_are_read_off_without_a_product():
    matrix, lanczos = grown(torch.linspace(-1, 2, 60), 12, 2, 12)
    products, ritz = lanczos.operator.products, lanczos.ritz()
    X = lanczos.vectors(ritz.vectors)
    true = (matrix @ X - X * torch.tensor(ritz.values)).norm(dim=0)
    assert lanczos.operator.products == products == 12
    torch.testing.assert_close(torch.tensor(ritz.residuals), true, rtol=1e-9, atol=1e-12)


def test_memory_is_the_basis_and_what_waits():
    lanczos = Lanczos(Meter(Diagonal(torch.ones(1000))), 40, 2)
    assert lanczos.Q.shape == (42, 1000)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_stay_at_right_angles_over_many_restarts(dtype):
    lanczos = Lanczos(Meter(Diagonal(outliers_over_a_bulk(2000, dtype=dtype))), 30, 2)
    lanczos.draw()
    lanczos.draw()
    for _ in range(20):
        while lanczos.done < 30:
            lanczos.step()
        lanczos.restart(lanczos.ritz().vectors[:, :15])
    Q = lanczos.Q[: lanczos.filled].double()
    assert (Q @ Q.T - torch.eye(len(Q))).abs().max() < lanczos.eps**0.5
    assert lanczos.ritz().noise.max() < lanczos.rounding


def test_an_invariant_space_leaves_nothing_to_wait():
    _, lanczos = grown([5.0] * 3 + [1.0] * 30, 20, 1, 2)
    assert lanczos.exhausted
    np.testing.assert_allclose(lanczos.ritz().values, [1, 5], rtol=1e-12)
    lanczos.draw()
    assert not lanczos.exhausted
    lanczos.clear()
    assert lanczos.filled == 0
