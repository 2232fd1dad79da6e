"""What operators do whatever they are of: sums, scalings, transposes, blocks, SciPy."""

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import eigsh, svds

from lowland.operators.gauss_newton import gauss_newton
from lowland.operators.hessian import hessian
from lowland.operators.jacobian import jacobian
from lowland.operators.nme import nme
from operators.matrix import Matrix
from operators.networks import case


def same(A, B):
    torch.testing.assert_close(A, B, rtol=1e-12, atol=1e-12)


@pytest.fixture
def problem():
    return case("layer norm").problem()


def test_sums_and_scalings_multiply_like_the_matrices(problem):
    H, G, N = (make(problem) for make in (hessian, gauss_newton, nme))
    V = torch.randn(problem.size, 3, dtype=torch.float64)
    same((H - G) @ V, N @ V)
    same((0.5 * (G + N) * 4 - H) @ V, H @ V)
    same(-(H - 2 * G) @ V, 2 * (G @ V) - H @ V)


def test_a_sum_has_each_term_once_and_counts_their_products_and_cost(problem):
    H, G = hessian(problem), gauss_newton(problem)
    A = H - (G - H)
    assert A.terms == [(2, H), (-1, G)]
    A @ torch.ones(problem.size, 2, dtype=torch.float64)
    assert (A.products, H.products, G.products) == (2, 2, 2)
    assert A.gradients == pytest.approx(H.gradients + G.gradients)
    assert A.gradients > 0
    assert A.symmetric


def test_a_block_is_its_columns(problem):
    H = hessian(problem)
    V = torch.randn(problem.size, 3, dtype=torch.float64)
    same(H @ V, torch.stack([H @ v for v in V.T], 1))
    assert H.products == 6


@pytest.mark.parametrize("engine", ["double_backward", "finite_difference"])
def test_a_vector_with_a_gradient_is_a_vector(engine):
    H = hessian(case("layer norm").problem(engine=engine))
    v = torch.ones(H.shape[0], dtype=torch.float64)
    product = H @ v.clone().requires_grad_()
    assert not product.requires_grad
    same(product, H @ v)


def test_transposes_obey_the_adjoint_law():
    J = jacobian(case("residual, batch norm").problem())
    u, v = (torch.randn(n, dtype=torch.float64) for n in J.shape)
    same(u @ (J @ v), (J.T @ u) @ v)
    assert J.T.T is J
    assert J.products == 2
    assert hessian(J.problem).T.shape == (J.shape[1], J.shape[1])


def test_a_combination_transposes_term_by_term():
    p = case("layer norm").problem()
    J, v = jacobian(p), torch.randn(39, dtype=torch.float64)
    same((J + 2 * J).T @ v, 3 * (J.T @ v))


def test_scipy_finds_the_same_eigenvalues(problem):
    H = hessian(problem)
    found = eigsh(H.to_scipy(), k=3, which="LA", return_eigenvectors=False)
    np.testing.assert_allclose(found, torch.linalg.eigvalsh(H.dense())[-3:], rtol=1e-9)


def test_scipy_finds_the_same_singular_values(problem):
    J = jacobian(problem)
    found = svds(J.to_scipy(), k=2, return_singular_vectors=False)
    np.testing.assert_allclose(sorted(found), torch.linalg.svdvals(J.dense())[:2].flip(0), rtol=1e-8)


def test_scipy_gets_the_operators_precision():
    A = Matrix(torch.eye(3)).to_scipy()
    assert (A.dtype, (A @ np.ones(3, np.float64)).dtype) == (np.float32, np.float32)


@pytest.mark.parametrize(
    ("by", "keys"), [("layer", ["0", "1", "3"]), ("parameter", ["0.weight", "0.bias", "1.weight"])]
)
def test_blocks_are_those_on_the_diagonal(problem, by, keys):
    H, done = hessian(problem).dense(), 0
    blocks = hessian(problem).blocks(by)
    assert list(blocks)[:3] == keys
    for block in blocks.values():
        n = block.shape[0]
        same(block.dense(), H[done : done + n, done : done + n])
        done += n
    assert done == problem.size


def test_blocks_share_the_memory(problem):
    whole = hessian(problem)
    whole @ torch.ones(problem.size, dtype=torch.float64)
    before = problem.budget.held
    blocks = whole.blocks()
    for block in blocks.values():
        block @ torch.ones(block.shape[0], dtype=torch.float64)
    assert problem.budget.held > before
    del blocks, block
    assert problem.budget.held == before


def test_an_operator_without_a_transpose_says_so():
    with pytest.raises(NotImplementedError, match="Matrix knows no product with its transpose"):
        Matrix(torch.ones(2, 3)).T @ torch.ones(2)


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        ([1.0], TypeError, "must be multiplied with a tensor, got list"),
        (torch.ones(2), ValueError, r"of shape \(2, 3\) must be multiplied with a vector or block of 3 rows, got"),
        (torch.ones(3, 1, 1), ValueError, r"got shape \(3, 1, 1\)"),
        (torch.ones(3, dtype=torch.float64), TypeError, "must be of torch.float32, got torch.float64: convert"),
        (torch.ones(3, device="meta"), ValueError, "must be on cpu, got one on meta"),
    ],
)
def test_what_is_no_vector_is_refused(x, error, words):
    with pytest.raises(error, match=words):
        Matrix(torch.ones(2, 3)) @ x


def test_shapes_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match=r"must be of one shape to be added, got \(2, 3\) and \(3, 2\)"):
        Matrix(torch.ones(2, 3)) + Matrix(torch.ones(3, 2))


def test_only_operators_add_up():
    with pytest.raises(TypeError, match="Only operators can be added to operators, got int"):
        Matrix(torch.ones(2, 3)) + 1


def test_blocks_by_something_else_are_refused(problem):
    with pytest.raises(ValueError, match="by must be one of layer, parameter, got 'stage'"):
        hessian(problem).blocks("stage")
