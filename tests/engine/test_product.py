"""Products with the Hessian and the Gauss-Newton matrix, as a method asks for them."""

from dataclasses import dataclass, field

import pytest
import torch
from torch import nn
from torch.func import functional_call

import lowland
from lowland.engine.method import Method
from lowland.vector import Vector

loss_of = nn.functional.cross_entropy


@dataclass(frozen=True, kw_only=True)
class Product(Method):
    """Gives the product with fixed vectors to the optimiser."""

    v: Vector
    how: dict = field(default_factory=dict)
    shard: int | None = None

    def direction(self, step):
        on = None if self.shard is None else list(step.shards(4))[self.shard]
        return (yield step.product(self.v, **self.how, on=on))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 3)).double()


def data(n=12):
    draw = torch.Generator().manual_seed(1)
    return torch.randn(n, 4, generator=draw, dtype=torch.float64), torch.randint(3, (n,), generator=draw)


def vector(model):
    draw = torch.Generator().manual_seed(2)
    return Vector({n: torch.randn(p.shape, generator=draw, dtype=p.dtype) for n, p in model.named_parameters()})


def flat(parts, model):
    return torch.cat([parts.get(n, torch.zeros_like(p)).reshape(-1) for n, p in model.named_parameters()])


def matrices(model, x, y):
    """Hessian and Gauss-Newton matrix, entry by entry."""
    shapes = {n: p.shape for n, p in model.named_parameters()}
    w = flat(dict(model.named_parameters()), model).detach()

    def outputs(w):
        parts = w.split([shape.numel() for shape in shapes.values()])
        named = {n: part.view(shape) for (n, shape), part in zip(shapes.items(), parts, strict=True)}
        return functional_call(model, named, (x,)).reshape(-1)

    def loss(z):
        return loss_of(z.view(len(y), 3), y)

    J = torch.autograd.functional.jacobian(outputs, w)
    curve = torch.autograd.functional.hessian(loss, outputs(w))
    return {
        "hessian": torch.autograd.functional.hessian(lambda w: loss(outputs(w)), w),
        "gauss_newton": J.T @ curve @ J,
    }


def asked(model, *goals, **how):
    """The product that the engine answers, as one vector; ``how`` holds arguments of the method and of bind."""
    own = {key: how.pop(key) for key in ("v", "how", "shard") if key in how}
    engine = Product(**{"v": vector(model), **own}).bind(model, **how)
    engine.backward_many(goals or [lowland.objective(model, loss_of, *data())])
    return flat({n: p.grad for n, p in model.named_parameters() if p.grad is not None}, model)


def same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


both = pytest.mark.parametrize("matrix", ["hessian", "gauss_newton"])


@both
def test_is_the_dense_matrix_times_the_vector(model, matrix):
    found = asked(model, how={"matrix": matrix})
    same(found, matrices(model, *data())[matrix] @ flat(vector(model).parts, model))


@both
def test_only_perturbed_parameters_count_as_far_as_they_are_perturbed(model, matrix):
    found = asked(model, how={"matrix": matrix}, where="*.weight", radii={"2.*": 0.5})
    v = {n: (0.5 if n[0] == "2" else 1.0) * part for n, part in vector(model).parts.items() if "weight" in n}
    same(found, matrices(model, *data())[matrix] @ flat(v, model))


@both
def test_a_part_of_the_batch_has_its_own(model, matrix):
    x, y = data()
    found = asked(model, how={"matrix": matrix}, shard=1)
    same(found, matrices(model, x[4:8], y[4:8])[matrix] @ flat(vector(model).parts, model))


@both
def test_several_closures_sum(model, matrix):
    x, y = data()
    found = asked(model, *(lowland.objective(model, loss_of, x, y, scale=0.25),) * 4, how={"matrix": matrix})
    same(found, matrices(model, x, y)[matrix] @ flat(vector(model).parts, model))


@both
def test_beside_the_weights_it_is_that_of_the_point(model, matrix):
    e, before = vector(model), [p.detach().clone() for p in model.parameters()]
    found = asked(model, how={"matrix": matrix, "at": e})
    assert all(torch.equal(p, w) for p, w in zip(model.parameters(), before, strict=True))
    with torch.no_grad():
        for n, p in model.named_parameters():
            p += e.parts[n]
    same(found, matrices(model, *data())[matrix] @ flat(vector(model).parts, model))


def test_the_loss_that_is_told_is_the_loss(model):
    x, y = data()
    engine = Product(v=vector(model)).bind(model)
    assert engine.backward(lambda: loss_of(model(x), y)).item() == pytest.approx(loss_of(model(x), y).item())


@both
def test_is_zero_where_the_loss_is_linear(matrix):
    model = nn.Linear(4, 3).double()
    x, y = data()
    engine = Product(v=vector(model), how={"matrix": matrix}).bind(model)
    engine.backward(lowland.objective(model, lambda z, y: z.mean(), x, y))
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_outputs_in_a_dict_serve_and_other_losses_do():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 2), nn.Linear(4, 2)

        def forward(self, x):
            return {"a": self.a(x).tanh(), "b": self.b(x), "rows": len(x)}

    torch.manual_seed(0)
    model, (x, _) = Two().double(), data()
    goal = lowland.objective(model, lambda z, y: (z["a"].exp() * z["b"]).mean(), x, torch.zeros(12))
    found = asked(model, goal, how={"matrix": "gauss_newton"})
    e = 1e-6
    z, v = model(x), vector(model)

    def pulled(sign):
        """J' of the loss's slope, at outputs moved along J v."""
        with torch.no_grad():
            step = {n: p + sign * e * v.parts[n] for n, p in model.named_parameters()}
            moved = functional_call(model, step, (x,))
        leaves = [moved[key].requires_grad_() for key in "ab"]
        slopes = torch.autograd.grad((leaves[0].exp() * leaves[1]).mean(), leaves)
        return torch.autograd.grad([z["a"], z["b"]], list(model.parameters()), slopes, retain_graph=True)

    rows = [(up - down) / (2 * e) for up, down in zip(pulled(1), pulled(-1), strict=True)]
    torch.testing.assert_close(found, torch.cat([row.reshape(-1) for row in rows]), rtol=1e-4, atol=1e-8)


def test_gauss_newton_needs_to_know_the_outputs(model):
    x, y = data()
    engine = Product(v=vector(model), how={"matrix": "gauss_newton"}).bind(model)
    with pytest.raises(TypeError, match=r"needs its examples, got function: pass lowland\.objective"):
        engine.backward(lambda: loss_of(model(x), y))


def test_an_operation_without_a_second_derivative_is_refused_by_torch_and_undone(model):
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            return g

    x, y = data()
    engine = Product(v=vector(model)).bind(model)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        engine.backward(lambda: loss_of(Once.apply(model(x)), y))
    assert all(p.grad is None for p in model.parameters())
