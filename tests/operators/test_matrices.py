"""Every matrix of every kind of network is what differentiating plainly gives."""

from functools import cache

import pytest
import torch

from lowland.operators.fisher import fisher
from lowland.operators.gauss_newton import gauss_newton
from lowland.operators.hessian import hessian
from lowland.operators.jacobian import jacobian
from lowland.operators.nme import nme
from operators.networks import NETWORKS, case

HALVES = (hessian, gauss_newton, nme)


@cache
def plain(name):
    found = case(name)
    H, G = found.hessian(), found.gauss_newton()
    return {hessian: H, gauss_newton: G, nme: H - G, jacobian: found.jacobian()}


def assert_near(A, B, tolerance=1e-10):
    torch.testing.assert_close(A, B, rtol=0, atol=tolerance * max(B.abs().max().item(), 1e-3))


def vector(operator):
    return torch.randn(operator.shape[1], dtype=operator.dtype, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("make", [*HALVES, jacobian])
@pytest.mark.parametrize("name", NETWORKS)
def test_equals_the_plain_one(name, make):
    A = make(case(name).problem(engine="double_backward"))
    assert_near(A.dense(), plain(name)[make])


@pytest.mark.parametrize("name", NETWORKS)
def test_the_hessian_is_gauss_newton_and_nme(name):
    H, G, N = (make(case(name).problem()) for make in HALVES)
    v = vector(H)
    assert (H @ v - G @ v - N @ v).norm() <= 1e-12 * (H @ v).norm()
    assert {A.engine for A in (H, G, N)} == {"double_backward"}


@pytest.mark.parametrize("make", [*HALVES, jacobian])
@pytest.mark.parametrize("name", NETWORKS)
def test_finite_differences_agree(name, make):
    A, B = make(case(name).problem()), make(case(name).problem(engine="finite_difference"))
    v = vector(A)
    assert (A @ v - B @ v).norm() <= 1e-6 * (A @ v).norm() + 1e-9


@pytest.mark.parametrize("name", NETWORKS)
def test_the_type_2_fisher_is_gauss_newton(name):
    p = case(name).problem()
    G = gauss_newton(p)
    torch.testing.assert_close(fisher(p) @ vector(G), G @ vector(G), rtol=0, atol=0)


@pytest.mark.parametrize("make", HALVES)
def test_one_batch_of_everything_equals_the_unequal_ones(make):
    found = case("signals")
    A = make(found.problem())
    found.data = tuple(torch.cat(part) for part in zip(*found.data, strict=True))
    B = make(found.problem())
    assert_near(A @ vector(A), B @ vector(B), 1e-13)


@pytest.mark.parametrize("make", HALVES)
def test_float32_errs_by_its_precision(make):
    found = case("residual, batch norm")
    exact = make(found.problem(check=False))
    v = vector(exact)
    exact = exact @ v
    found.model.float()
    A = make(found.problem())
    assert (A @ v.float() - exact).norm() <= 1e-5 * exact.norm()
