"""Activations whose second derivative is exact, ablated or made up: what autograd sees of each."""

import pytest
import torch
from torch import nn
from torch.func import grad, hessian, jvp, vmap

from lowland.models._activations.augmented_relu import AugmentedReLU
from lowland.models._activations.choice import ACTIVATIONS, activation_maker
from lowland.models._activations.taylor import taylor
from lowland.models.mlp import MLP

X = torch.tensor([-3.0, -0.7, -0.01, 0.0, 0.02, 0.5, 2.0], dtype=torch.float64)
SAME = {"rtol": 1e-12, "atol": 1e-14}


def density(x):
    return torch.exp(-x * x / 2) / (2 * torch.pi) ** 0.5


def beta_gelu(beta):
    """Value, first and second derivative, from the formulas."""
    cdf = torch.special.ndtr(beta * X)
    return (
        X * cdf,
        cdf + beta * X * density(beta * X),
        beta * density(beta * X) * (2 - (beta * X) ** 2),
    )


ZERO, STEP = torch.zeros_like(X), (X > 0).double()
EXPECTED = {
    "beta_gelu": beta_gelu(1.0),
    "beta_gelu:beta=0.5": beta_gelu(0.5),
    "beta_gelu:beta=8": beta_gelu(8.0),
    "ablated_gelu": (*beta_gelu(1.0)[:2], ZERO),
    "augmented_relu": (X.relu(), STEP, density(X)),
    "augmented_relu:width=0.2": (X.relu(), STEP, density(X / 0.2) / 0.2),
    "augmented_relu:bump=bgelu,width=0.5": (X.relu(), STEP, beta_gelu(2.0)[2]),
    "relu": (X.relu(), STEP, ZERO),
}

every = pytest.mark.parametrize("spec", EXPECTED)


def by_backward(function):
    """Value, first and second derivative by going backward twice, entry by entry."""
    x = X.clone().requires_grad_()
    y = function(x)
    (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    second = torch.autograd.grad(first.sum(), x)[0] if first.requires_grad else ZERO
    return y.detach(), first.detach(), second


@every
def test_going_backward_twice_gives_the_formulas(spec):
    torch.testing.assert_close(by_backward(activation_maker(spec)()), EXPECTED[spec], **SAME)


@every
def test_torch_func_gives_the_formulas(spec):
    f = activation_maker(spec)()
    found = f(X), vmap(grad(f))(X), vmap(grad(grad(f)))(X)
    torch.testing.assert_close(found, EXPECTED[spec], **SAME)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is:DeprecationWarning")  # PyTorch's own
@every
def test_forward_over_reverse_gives_the_formulas(spec):
    f = activation_maker(spec)()
    slope, bend = jvp(lambda x: vmap(grad(f))(x), (X,), (torch.ones_like(X),))
    torch.testing.assert_close((slope, bend), EXPECTED[spec][1:], **SAME)
    torch.testing.assert_close(hessian(lambda x: f(x).sum())(X), torch.diag(EXPECTED[spec][2]), **SAME)


@pytest.mark.parametrize(("spec", "other"), [("ablated_gelu", nn.GELU()), ("augmented_relu", nn.ReLU())])
def test_value_and_first_derivative_are_bit_for_bit_those_of_the_plain_activation(spec, other):
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    found = [
        (f(a := x.clone().requires_grad_()), torch.autograd.grad(f(a).square().sum(), a)[0])
        for f in (activation_maker(spec)(), other)
    ]
    torch.testing.assert_close(*found, rtol=0, atol=0)


@pytest.mark.parametrize("spec", [name for name in EXPECTED if name not in {"relu", "ablated_gelu"}])
def test_the_second_derivative_has_area_one(spec):
    f = activation_maker(spec)()
    x = torch.linspace(-20, 20, 40_001, dtype=torch.float64)
    assert torch.trapezoid(vmap(grad(grad(f)))(x), x).item() == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("bump", ["gauss", "bgelu"])
def test_an_augmented_relu_is_relu_far_out_in_every_precision(bump, dtype):
    x = torch.tensor([-1.0, 1.0, 300.0, -300.0, 1e4, torch.finfo(dtype).max / 4], dtype=dtype)
    assert torch.equal(AugmentedReLU(bump=bump, width=0.1)(x), x.relu())


def test_beta_gelu_is_gelu_at_one_and_relu_far_out():
    torch.testing.assert_close(ACTIVATIONS["beta_gelu"](1.0)(X), nn.GELU()(X), rtol=0, atol=0)
    torch.testing.assert_close(ACTIVATIONS["beta_gelu"](1e6)(X), X.relu(), rtol=0, atol=1e-12)


def test_a_parabola_has_the_derivatives_it_is_given_and_no_third():
    x = torch.tensor(2.0, dtype=torch.float64)

    def f(x):
        return taylor(x, torch.sin, torch.cos, torch.exp)

    found = f(x), grad(f)(x), grad(grad(f))(x), grad(grad(grad(f)))(x)
    torch.testing.assert_close(torch.stack(found), torch.stack([x.sin(), x.cos(), x.exp(), x * 0]), **SAME)


@every
def test_gradients_of_a_network_agree_with_finite_differences(spec):
    """What is made up is made up in the second derivative alone."""
    torch.manual_seed(0)
    model, x = MLP((1, 3, 3), 3, widths=(5, 4), activation=spec).double(), torch.randn(6, 9, dtype=torch.float64)
    w = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    v = torch.randn(len(w), dtype=torch.float64)

    def loss(w):
        nn.utils.vector_to_parameters(w, model.parameters())
        return model(x).square().mean()

    loss(w).backward()
    slope = torch.cat([p.grad.reshape(-1) for p in model.parameters()]) @ v
    with torch.no_grad():
        rise = (loss(w + 1e-6 * v) - loss(w - 1e-6 * v)) / 2e-6
    torch.testing.assert_close(slope, rise, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_name_makes_a_new_module_in_every_call(name):
    make = activation_maker(name)
    assert isinstance(make(), nn.Module)
    assert make() is not make()


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("swish", ValueError, "activation must be one of relu, gelu, .*, got 'swish'"),
        ("gelu:beta=2", TypeError, r"gelu must be given arguments that it takes \(approximate\), got 'beta'"),
        ("beta_gelu:beta=0", ValueError, "beta must be above 0, got 0: at 0 the activation is a straight line"),
        ("beta_gelu:beta=-1", ValueError, "beta must be a finite number >= 0, got -1"),
        ("augmented_relu:width=0", ValueError, "width must be above 0, got 0: autograd does not see a spike"),
        ("augmented_relu:bump=box", ValueError, "bump must be one of gauss, bgelu, got 'box'"),
    ],
)
def test_bad_specs_are_refused_by_words(spec, error, words):
    with pytest.raises(error, match=words):
        activation_maker(spec)
