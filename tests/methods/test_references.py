"""Each method follows the plain algebra of its paper for 20 steps in float64."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

import lowland
from references import sam_family as ref


# No bias before batch norm: its gradient is zero but for rounding, which Adam would blow up to full steps.
def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7, bias=False), nn.BatchNorm1d(7), nn.Tanh(), nn.Linear(7, 3)).double()


def conv():
    torch.manual_seed(0)
    body = [nn.Conv2d(1, 3, 3, bias=False), nn.BatchNorm2d(3), nn.GELU(), nn.Flatten(), nn.Linear(27, 3)]
    return nn.Sequential(nn.Unflatten(1, (1, 5, 5)), *body).double()


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)


def adamw(parameters):
    return torch.optim.AdamW(parameters, lr=0.02)


class Flat:
    """A model's loss as a function of one flat vector, with buffers that never change."""

    def __init__(self, model):
        self.model = model
        self.shapes = {n: p.shape for n, p in model.named_parameters()}
        self.w = torch.cat([p.detach().reshape(-1) for p in model.parameters()]).clone().requires_grad_()

    def grad(self, x, y):
        def gradient(w):
            w = w.detach().requires_grad_()
            sizes = [shape.numel() for shape in self.shapes.values()]
            parts = {n: v.view(s) for (n, s), v in zip(self.shapes.items(), w.split(sizes), strict=True)}
            buffers = {n: b.clone() for n, b in self.model.named_buffers()}
            loss = nn.functional.cross_entropy(functional_call(self.model, {**parts, **buffers}, x), y)
            return torch.autograd.grad(loss, w)[0]

        return gradient

    def mask(self, pick):
        marks = [torch.full((shape.numel(),), bool(pick(n))) for n, shape in self.shapes.items()]
        return torch.cat(marks)


def data(model, count=20, size=12):
    draw = torch.Generator().manual_seed(4)
    width = 25 if isinstance(model[0], nn.Unflatten) else 5
    for _ in range(count):
        x = torch.randn(size, width, generator=draw, dtype=torch.float64)
        yield x, torch.randint(3, (size,), generator=draw)


def whole(rule, *settings):
    return lambda flat, x, y: rule(flat.grad(x, y), flat.w.detach(), *settings)


def sharded(flat, x, y):
    cuts = [slice(0, 5), slice(5, 10), slice(10, 12)]
    grads = [flat.grad(x[c], y[c]) for c in cuts]
    return ref.msam(grads, flat.w.detach(), 0.1, [5, 5, 2])


CASES = {
    "sam": (lowland.SAM(rho=0.1), whole(ref.sam, 0.1)),
    "asam": (
        lowland.ASAM(rho=0.5),
        lambda f, x, y: ref.asam(f.grad(x, y), f.w.detach(), 0.5, 0.01, f.mask(lambda n: "weight" in n)),
    ),
    "asam.as_davda": (
        lowland.ASAM.as_davda(rho=2.0),
        lambda f, x, y: ref.asam(f.grad(x, y), f.w.detach(), 2.0, 0.0, f.mask(lambda n: True)),
    ),
    "gsam": (lowland.GSAM(rho=0.1, alpha=0.3), whole(ref.gsam, 0.1, 0.3)),
    "sam_on": (
        lowland.SAMON(rho=0.4),
        lambda f, x, y: ref.sam_on(f.grad(x, y), f.w.detach(), 0.4, f.mask(lambda n: n[:2] in f.norms).double()),
    ),
    "msam": (lowland.MSAM(rho=0.1, m=5), sharded),
}


@pytest.mark.parametrize("optimizer", [sgd, adamw])
@pytest.mark.parametrize("build", [mlp, conv])
@pytest.mark.parametrize("name", CASES)
def test_follows_the_papers_algebra(name, build, optimizer):
    method, rule = CASES[name]
    model, flat = build(), Flat(build())
    flat.norms = {f"{i}." for i, m in enumerate(model) if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)}
    engine, left, right = method.bind(model), optimizer(model.parameters()), optimizer([flat.w])
    for x, y in data(model):
        engine.backward(lowland.objective(model, nn.functional.cross_entropy, x, y))
        flat.w.grad = rule(flat, x, y)
        left.step(), right.step()
        left.zero_grad(), right.zero_grad()
    ours = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    torch.testing.assert_close(ours, flat.w.detach(), rtol=1e-9, atol=1e-12)


def test_sam_follows_an_independent_trajectory():
    """Values computed by another library in JAX, in float64."""
    model = nn.ParameterDict({"w": nn.Parameter(torch.ones(2, dtype=torch.float64))})
    w, opt = model["w"], torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    engine, path = lowland.SAM(rho=0.1).bind(model), {}
    for t in range(1, 11):
        engine.backward(lambda: 0.5 * (w[0] ** 2 + 10 * w[1] ** 2) + w.cos().sum())
        opt.step(), opt.zero_grad()
        path[t] = w.tolist()
    golden = {
        1: [0.9920337066151617, 0.4945675170476188],
        5: [0.9002094105993724, -0.45868758587152386],
        10: [0.7234668273653061, -0.05822842055014482],
    }
    for t, point in golden.items():
        assert path[t] == pytest.approx(point, rel=0, abs=1e-12)
