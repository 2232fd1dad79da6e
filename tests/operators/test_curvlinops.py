"""To and from curvlinops; and where other libraries are right, they agree with ours."""

import warnings
from importlib import import_module

import pytest
import torch
from torch import nn

from lowland.operators import curvlinops as adapter
from lowland.operators.curvlinops import from_curvlinops, to_curvlinops
from lowland.operators.gauss_newton import gauss_newton
from lowland.operators.hessian import hessian
from lowland.operators.jacobian import jacobian
from operators.matrix import Matrix
from operators.networks import case

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Using backward.. with create_graph")


def library(name):
    """Another library; its warnings at import are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return import_module(name)
        except ImportError:
            pytest.skip(f"{name} is not installed")


@pytest.fixture(autouse=True)
def curvlinops():
    return library("curvlinops")


def given(found):
    """What curvlinops takes; it does without in-place operations and modes."""
    for module in found.model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    loss = {"cross_entropy": nn.CrossEntropyLoss, "mse_loss": nn.MSELoss}[found.loss.__name__]()
    return found.model.eval(), loss, list(found.model.parameters()), found.data


def same(A, B):
    torch.testing.assert_close(A, B, rtol=1e-9, atol=1e-11)


NAMES = ["mlp, cross-entropy", "mlp, squared error", "signals"]


@pytest.mark.parametrize("name", NAMES)
def test_curvlinops_agrees(name, curvlinops):
    found = case(name)
    v = torch.randn(found.problem().size, dtype=torch.float64)
    same(hessian(found.problem()) @ v, curvlinops.HessianLinearOperator(*given(found)) @ v)
    same(gauss_newton(found.problem()) @ v, curvlinops.GGNLinearOperator(*given(found)) @ v)
    J = curvlinops.JacobianLinearOperator(found.model, list(found.model.parameters()), found.data)
    same(jacobian(found.problem()) @ v, J @ v)


def test_curvlinops_hessian_is_wrong_on_affine_layer_norms_and_ours_is_not(curvlinops):
    found = case("layer norm")
    H, plain = hessian(found.problem()).dense(), found.hessian()
    wrong = curvlinops.HessianLinearOperator(*given(found)) @ torch.eye(len(H), dtype=torch.float64)
    torch.testing.assert_close(H, plain, rtol=0, atol=1e-12)
    assert (wrong - plain).norm() > 1e-3 * plain.norm()
    assert (wrong - wrong.T).norm() > 1e-3 * plain.norm()


@pytest.mark.parametrize("name", NAMES)
def test_pyhessian_agrees(name):
    py = library("pyhessian")
    found = case(name)
    model, loss, _, data = given(found)
    A = py.hessian(model, loss, dataloader=data, cuda=False)
    H = hessian(found.problem())
    v = torch.randn(H.shape[0], dtype=torch.float64)
    _, product = A.dataloader_hv_product(H.problem.split(v))
    same(H @ v, torch.cat([part.detach().flatten() for part in product]))
    model.zero_grad()


@pytest.mark.parametrize("name", NAMES)
def test_hessian_eigenthings_agrees_on_equal_batches(name):
    things = library("hessian_eigenthings")
    found = case(name, sizes=(4, 4))
    A = things.HessianOperator(found.model.eval(), found.data, lambda model, b: found.loss(model(b[0]), b[1]))
    v = torch.randn(A.size, dtype=torch.float64)
    same(hessian(found.problem()) @ v, A.matvec(v))


def test_ours_becomes_theirs(curvlinops):
    H = hessian(case("layer norm").problem())
    A = to_curvlinops(H)
    V = torch.randn(H.shape[0], 2, dtype=torch.float64)
    same(A @ V, H @ V)
    same(A @ V[:, 0], H @ V[:, 0])
    parts = A @ H.problem.split(V[:, 0].contiguous())
    same(H.problem.join(parts), H @ V[:, 0])
    assert A.adjoint() is A
    same(torch.from_numpy(A.to_scipy() @ V.numpy()), H @ V)


def test_their_inverses_take_ours(curvlinops):
    A = torch.randn(5, 5, dtype=torch.float64)
    A = A @ A.T + torch.eye(5)
    inverse = curvlinops.CGInverseLinearOperator(to_curvlinops(Matrix(A, symmetric=True)))
    b = torch.randn(5, dtype=torch.float64)
    torch.testing.assert_close(inverse @ b, torch.linalg.solve(A, b), rtol=1e-4, atol=1e-6)


def test_a_jacobian_becomes_theirs_with_its_transpose():
    J = jacobian(case("layer norm").problem())
    A, u = to_curvlinops(J), torch.randn(J.shape[0], dtype=torch.float64)
    same(A.adjoint() @ u, J.T @ u)
    assert A.shape == J.shape


def test_theirs_becomes_ours(curvlinops):
    found = case("mlp, cross-entropy")
    G = from_curvlinops(curvlinops.GGNLinearOperator(*given(found)))
    J = from_curvlinops(curvlinops.JacobianLinearOperator(found.model, list(found.model.parameters()), found.data))
    v, u = torch.randn(G.shape[0], dtype=torch.float64), torch.randn(J.shape[0], dtype=torch.float64)
    same(G @ v, gauss_newton(found.problem()) @ v)
    same(J.T @ u, jacobian(found.problem()).T @ u)
    same((hessian(found.problem()) - G) @ v, hessian(found.problem()) @ v - G @ v)
    assert (G.symmetric, J.symmetric, G.dtype) == (True, False, torch.float64)


def test_there_and_back_is_the_same():
    A = Matrix(torch.randn(3, 3, dtype=torch.float64), symmetric=True)
    same(from_curvlinops(to_curvlinops(A)).dense(), A.A)


def test_its_wrong_hessians_are_refused(curvlinops):
    found = case("layer norm")
    with pytest.raises(ValueError, match="must be of a model without affine LayerNorm, got '1': its"):
        from_curvlinops(curvlinops.HessianLinearOperator(*given(found)))
    from_curvlinops(curvlinops.GGNLinearOperator(*given(found)))


def test_what_is_not_theirs_is_refused():
    with pytest.raises(TypeError, match="operator must be one of curvlinops', got Tensor"):
        from_curvlinops(torch.eye(2))


def test_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(adapter, "KNOWN", "2.")
    with pytest.raises(ImportError, match=r"curvlinops must be of version 2\.\*, got 3"):
        to_curvlinops(Matrix(torch.eye(2)))
