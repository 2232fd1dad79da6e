import pytest
import torch

from estimate.dense import Dense, Diagonal, outliers_over_a_bulk, rotated
from lowland.estimate.eigen_pairs import NotConvergedError
from lowland.estimate.spectral_norm import spectral_norm

float64 = torch.float64
MATRIX = torch.randn(60, 90, dtype=float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("matrix", [MATRIX, MATRIX.T.contiguous()])
def test_is_the_largest_singular_value_of_any_matrix(matrix):
    operator = Dense(matrix, symmetric=False)
    norm = spectral_norm(operator, tol=1e-6)
    true = float(torch.linalg.matrix_norm(matrix, 2))
    assert norm.value == pytest.approx(true, rel=1e-6)
    assert abs(norm.value - true) <= norm.bound
    assert float((matrix @ norm.vector).norm()) == pytest.approx(true, rel=1e-6)
    assert norm.products == operator.products
    assert norm.gradients == operator.gradients


def test_is_the_largest_absolute_eigenvalue_of_a_symmetric_one():
    operator = Dense(rotated(torch.cat([torch.tensor([-7.0, 5.0]), torch.linspace(-1, 1, 98)])))
    norm = spectral_norm(operator)
    assert norm.value == pytest.approx(7, rel=1e-3)
    assert abs(norm.value - 7) <= norm.bound <= 0.0071
    assert norm.products == operator.products
    assert spectral_norm(operator, warm=norm.vector).products == 3


def test_vanishing_matrices_have_norm_zero():
    assert spectral_norm(Diagonal(torch.zeros(20))).value == 0
    assert spectral_norm(Dense(torch.zeros(4, 6), symmetric=False)).value == 0


def test_bad_input_is_refused_by_words():
    with pytest.raises(NotConvergedError, match=r"eigenvalues \(magnitude\) must be sure to tol=0.001"):
        spectral_norm(Diagonal(outliers_over_a_bulk(5000, ())), max_products=5)
    with pytest.raises(ValueError, match="tol must be at least"):
        spectral_norm(Diagonal(torch.ones(5)), tol=1e-9)
    with pytest.raises(TypeError, match="must be an Operator"):
        spectral_norm(MATRIX)
