import pytest
import torch

from estimate.dense import Dense, Diagonal
from lowland.estimate.frobenius import frobenius

float64 = torch.float64
MATRIX = torch.randn(30, 50, dtype=float64, generator=torch.Generator().manual_seed(0))
TALL = Dense(MATRIX.T.contiguous(), symmetric=False)


def test_the_square_is_unbiased_and_the_error_covers():
    operator, true = Dense(MATRIX, symmetric=False), float(MATRIX.norm())
    estimates = [frobenius(operator, 30, seed) for seed in range(300)]
    squares = torch.tensor([e.value**2 for e in estimates])
    z = torch.tensor([(e.value - true) / e.stderr for e in estimates])
    assert abs(squares.mean() - true**2) < 4 * squares.std() / 300**0.5
    assert 0.85 < z.std() < 1.25
    assert (z.abs() > 2).double().mean() < 0.1


@pytest.mark.parametrize("matrix", [MATRIX, MATRIX.T.contiguous(), MATRIX.float()])
def test_is_exact_on_request(matrix):
    operator = Dense(matrix, symmetric=False)
    estimate = frobenius(operator, exact=True)
    assert estimate.value == pytest.approx(float(matrix.norm()), rel=1e-6)
    assert estimate.stderr == 0
    assert estimate.products == operator.products == matrix.shape[1]
    assert estimate.gradients == 2 * matrix.shape[1]


def test_a_diagonal_matrix_leaves_nothing_to_chance():
    estimate = frobenius(Diagonal(torch.tensor([3.0, 4.0])), 5)
    assert estimate.value == pytest.approx(5)
    assert estimate.stderr == 0
    zero = frobenius(Diagonal(torch.zeros(4)), 5)
    assert (zero.value, zero.stderr) == (0, 0)


def test_bad_input_is_refused_by_words():
    with pytest.raises(ValueError, match="probes must be at least 2, got 1"):
        frobenius(TALL, 1)
    for exact in (False, True):
        with pytest.raises(ValueError, match="must be finite, got a mean of nan"):
            frobenius(Diagonal(torch.tensor([1.0, float("nan")])), exact=exact)
