"""Which engine is taken, what is said about it, and what its first product must stand."""

import warnings

import pytest
import torch
from torch import nn
from torch.autograd.function import once_differentiable

from lowland.operators.fisher import fisher
from lowland.operators.gauss_newton import gauss_newton
from lowland.operators.hessian import hessian
from lowland.operators.jacobian import jacobian
from lowland.operators.nme import nme
from lowland.operators.problem import problem
from operators.networks import case, mlp


class OnceTanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x.tanh())
        return x.tanh()

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * (1 - y**2)


class WrongTanh(torch.autograd.Function):
    """Its gradient is right, and the gradient of that is half of what it should be."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.tanh()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        y = 0.5 * x.tanh() + 0.5 * x.tanh().detach()
        return g * (1 - y**2)


class Skewed(torch.autograd.Function):
    """What curvlinops' layer norm does: a mixed second derivative is lost on one side."""

    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x, scale)
        return x * scale

    @staticmethod
    def backward(ctx, g):
        x, scale = ctx.saved_tensors
        return g * scale, (g * x.detach()).sum(0)


class Layer(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.a, self.b, self.function = nn.Linear(3, 4), nn.Linear(4, 3), function
        self.scale = nn.Parameter(torch.linspace(0.5, 2, 4))

    def forward(self, x):
        return self.b(self.function(self.a(x), self.scale))


def once(x, scale):
    return OnceTanh.apply(x) * scale


def wrong(x, scale):
    return WrongTanh.apply(x) * scale


def right(x, scale):
    return x.tanh() * scale


def of(function, dtype=torch.float64, **how):
    torch.manual_seed(0)
    x, y = torch.randn(6, 3, dtype=dtype), torch.randint(3, (6,))
    return problem(Layer(function).to(dtype), nn.functional.cross_entropy, (x, y), **how)


def ones(p):
    return torch.ones(p.size, dtype=p.dtype)


@pytest.mark.parametrize("make", [hessian, gauss_newton, nme, jacobian])
def test_without_a_second_derivative_differences_are_taken_and_the_user_told(make):
    A, B = make(of(once)), make(of(right))
    with pytest.warns(
        UserWarning, match=r"by finite differences, as going backward twice fails: .*once_differentiable"
    ) as told:
        product = A @ ones(A.problem)
    assert [(w.filename, len(told)) for w in told] == [(__file__, 1)]
    torch.testing.assert_close(product, B @ ones(B.problem), rtol=1e-6, atol=1e-8)
    A @ ones(A.problem)


def test_the_operator_says_how_and_why():
    A, B = hessian(of(once)), hessian(of(right))
    assert (A.engine, A.why) == ("auto", "as asked for")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        A @ ones(A.problem)
    B @ ones(B.problem)
    assert (A.engine, B.engine) == ("finite_difference", "double_backward")
    assert A.why == "going backward twice fails: an operation's backward is marked once_differentiable"
    assert B.why == "it works, and is the most exact"


def test_an_engine_that_was_asked_for_is_not_replaced():
    p = of(once, engine="double_backward")
    with pytest.raises(RuntimeError, match="once_differentiable"):
        hessian(p) @ ones(p)


@pytest.mark.parametrize("make", [hessian, nme])
def test_a_wrong_second_derivative_is_caught_in_float64(make):
    p = of(wrong)
    with pytest.raises(
        RuntimeError, match=r"must agree with finite differences, got products that differ by .* second der"
    ):
        make(p) @ ones(p)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_one_sided_second_derivative_is_caught_at_any_precision(dtype):
    p = of(Skewed.apply, dtype)
    with pytest.raises(RuntimeError, match="hessian must be symmetric, got u'Av and v'Au that differ by"):
        hessian(p) @ ones(p)


def test_the_check_can_be_skipped():
    p, q = of(wrong, check=False), of(right)
    assert (hessian(p) @ ones(p) - hessian(q) @ ones(q)).norm() > 1e-3


def test_the_check_does_not_cry_wolf():
    for seed in range(20):
        torch.manual_seed(seed)
        for dtype in (torch.float32, torch.float64):
            model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3)).to(
                dtype
            )
            p = problem(
                model, nn.functional.cross_entropy, (torch.randn(50, 8, dtype=dtype), torch.randint(3, (50,)))
            )
            for make in (hessian, gauss_newton, nme, lambda p: fisher(p, "empirical")):
                make(p) @ ones(p)


def test_a_linear_models_nme_is_zero_and_passes():
    p = problem(
        nn.Linear(3, 3).double(), nn.functional.cross_entropy, (torch.randn(4, 3).double(), torch.arange(4) % 3)
    )
    torch.testing.assert_close(nme(p) @ ones(p), torch.zeros(p.size).double(), rtol=0, atol=0)


def test_a_product_at_float16_range_is_still_checked():
    p = problem(
        mlp(), lambda z, y: 1e-20 * nn.functional.cross_entropy(z, y), (torch.randn(4, 3), torch.arange(4) % 3)
    )
    assert (hessian(p) @ ones(p)).norm() > 0


def test_convolutions_take_no_detour_under_autocast():
    found = case("residual, batch norm")
    found.model.float()
    p = problem(found.model, found.loss, [(x.float(), y) for x, y in found.data], autocast=torch.bfloat16)
    q = problem(found.model, found.loss, [(x.float(), y) for x, y in found.data])
    v = torch.randn(p.size)
    for make in (hessian, gauss_newton):
        A, B = make(p), make(q)
        assert (A @ v - B @ v).norm() < 0.2 * (B @ v).norm()
