"""Each method follows the plain algebra of its paper for 20 steps in float64."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.func import functional_call

import lowland
from lowland.catalog import names
from lowland.engine.around import Around
from lowland.methods.gradient_penalty import GradientPenalty
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
    """A model as a function of one flat vector, with buffers that never change; and one step of its training."""

    def __init__(self, model, optimizer):
        self.model, self.kept, self.t = model, {}, 0
        self.shapes = {n: p.shape for n, p in model.named_parameters()}
        self.sizes = [shape.numel() for shape in self.shapes.values()]
        self.leaf = torch.cat([p.detach().reshape(-1) for p in model.parameters()]).clone().requires_grad_()
        self.optimizer = optimizer([self.leaf])

    @property
    def w(self):
        return self.leaf.detach().clone()

    def outputs(self, w):
        parts = {n: v.view(s) for (n, s), v in zip(self.shapes.items(), w.split(self.sizes), strict=True)}
        buffers = {n: b.clone() for n, b in self.model.named_buffers()}
        return functional_call(self.model, {**parts, **buffers}, self.x)

    def gradient_of(self, loss):
        """The gradient function of ``loss(outputs)``."""

        def gradient(w):
            w = w.detach().requires_grad_()
            return torch.autograd.grad(loss(self.outputs(w)), w)[0]

        return gradient

    def loss(self, z):
        return nn.functional.cross_entropy(z, self.y)

    def hessian(self, w, v):
        return torch.autograd.functional.hvp(lambda w: self.loss(self.outputs(w)), w, v)[1]

    def gauss_newton(self, w, v):
        z, u = torch.autograd.functional.jvp(self.outputs, w, v)
        u = torch.autograd.functional.hvp(self.loss, z, u)[1]
        return torch.autograd.functional.vjp(self.outputs, w, u)[1]

    @property
    def grad(self):
        return self.gradient_of(self.loss)

    def losses(self, w):
        return nn.functional.cross_entropy(self.outputs(w), self.y, reduction="none")

    def grad_on(self, w, rows):
        x, y = self.x, self.y
        self.x, self.y = x[rows], y[rows]
        gradient = self.grad(w)
        self.x, self.y = x, y
        return gradient

    def grad_of_classes(self, chosen):
        marks = torch.tensor([float(int(y) in chosen) for y in self.y], dtype=torch.float64)
        return self.gradient_of(
            lambda z: (marks * nn.functional.cross_entropy(z, self.y, reduction="none")).sum() / len(marks)
        )

    def grad_of_one(self, i):
        return self.gradient_of(lambda z: nn.functional.cross_entropy(z[i : i + 1], self.y[i : i + 1]))

    def carried(self, there, w):
        z = self.outputs(w).detach().requires_grad_()
        c = torch.autograd.grad(nn.functional.cross_entropy(z, self.y), z)[0]
        return self.gradient_of(lambda outputs: (c * outputs).sum())(there)

    def forgetting(self, gamma, lam, link):
        def loss(z):
            p = z.detach().softmax(1) if link == "softmax" else z.detach().sigmoid()
            c = [ref.forgetting(row, int(y), gamma, lam) for row, y in zip(p, self.y, strict=True)]
            return (torch.stack(c) * z).sum() / len(z)

        return self.gradient_of(loss)

    def mask(self, pick):
        marks = [torch.full((shape.numel(),), bool(pick(n))) for n, shape in self.shapes.items()]
        return torch.cat(marks)

    @property
    def norms(self):
        kinds = nn.BatchNorm1d | nn.BatchNorm2d
        firsts = {f"{i}." for i, m in enumerate(self.model) if isinstance(m, kinds)}
        return self.mask(lambda n: n[:2] in firsts).double()

    @property
    def around(self):
        """Where chance comes from, which is no algebra."""
        return Around(dict(self.model.named_parameters()), call=self.t)

    def noise(self, around=None):
        drawn = (around or self.around).noise("model").parts
        return torch.cat([drawn[n].reshape(-1) for n in self.shapes])

    def filter_noise(self, around=None):
        return ref.filter_norms(self.w, self.shapes.values()) * self.noise(around)

    @property
    def momentum(self):
        state = self.optimizer.state.get(self.leaf, {})
        found = state.get("momentum_buffer", state.get("exp_avg"))
        return None if found is None else found.clone()

    def step(self, rule, x, y):
        self.x, self.y = x, y
        self.kept.pop("after", None)
        self.leaf.grad = rule(self)
        self.optimizer.step()
        if "after" in self.kept:
            self.leaf.data -= self.optimizer.param_groups[0]["lr"] * self.kept["after"]
        self.t += 1


def data(model, count=20, size=12):
    draw = torch.Generator().manual_seed(4)
    width = 25 if isinstance(model[0], nn.Unflatten) else 5
    for _ in range(count):
        x = torch.randn(size, width, generator=draw, dtype=torch.float64)
        yield x, torch.randint(3, (size,), generator=draw)


def whole(rule, *settings):
    return lambda f: rule(f.grad, f.w, *settings)


def remembering(rule, *settings):
    return lambda f: rule(f.grad, f.w, *settings, f.kept)


def sharded(f):
    cuts = [torch.arange(0, 5), torch.arange(5, 10), torch.arange(10, 12)]
    return ref.msam([partial(f.grad_on, rows=cut) for cut in cuts], f.w, 0.1, [5, 5, 2])


def asam(eta, rho, rule=ref.asam):
    return lambda f: rule(f.grad, f.w, rho, eta, f.mask(lambda n: eta == 0 or "weight" in n))


def decoupled(f):
    g, h = f.grad(f.w), ref.sam(f.grad, f.w, 0.1)
    f.kept["after"] = 0.75 / 0.25 * (h - g)
    return g


def every_third(f):
    return ref.sam(f.grad, f.w, 0.1) if f.t >= 2 and (f.t - 2) % 3 == 0 else f.grad(f.w)


def at_random(f):
    return ref.sam(f.grad, f.w, 0.05) if f.around.chance(0.4) else f.grad(f.w)


def efficient(f):
    chosen = f.around.some(0.6)
    mask = f.mask(lambda n: n in chosen).double()
    return ref.esam(f.losses, f.grad_on, f.w, 0.1, 0.6, 0.5, mask, 12)


def smoothed(f):
    around, cuts = f.around, torch.arange(12).split(4)
    parts = [ref.beside(partial(f.grad_on, rows=cut), f.w, 0.02 * f.filter_noise(around)) for cut in cuts]
    return sum(parts) / 3


def forgetting(rule, gamma, lam, link, *settings):
    return lambda f: rule(f.grad, f.forgetting(gamma, lam, link), f.w, *settings)


def forgetting_asam(f):
    w, t = f.w, f.w.abs() + 0.01
    t = torch.where(f.mask(lambda n: "weight" in n), t, torch.ones_like(t))
    g = f.forgetting(0.5, 1 / 3, "softmax")(w)
    return f.grad(w + 0.5 * t * t * g / (t * g).norm())


CASES = {
    "sam": (lowland.SAM(rho=0.1), whole(ref.sam, 0.1)),
    "sam, p = inf": (lowland.SAM(rho=0.01, p=math.inf), whole(ref.sam_of_order, 0.01, math.inf)),
    "sam, p = 3": (lowland.SAM(rho=0.1, p=3.0), whole(ref.sam_of_order, 0.1, 3.0)),
    "sam by tensor": (
        lowland.SAM(rho=0.1, per="tensor"),
        lambda f: ref.sam_per_tensor(f.grad, f.w, 0.1, f.sizes),
    ),
    "asam": (lowland.ASAM(rho=0.5), asam(0.01, 0.5)),
    "asam.as_davda": (lowland.ASAM.as_davda(rho=2.0), asam(0.0, 2.0)),
    "asam, p = inf": (lowland.ASAM(rho=0.05, p=math.inf), asam(0.01, 0.05, ref.asam_without_order)),
    "usam": (lowland.USAM(rho=0.1), whole(ref.usam, 0.1)),
    "gsam": (lowland.GSAM(rho=0.1, alpha=0.3), whole(ref.gsam, 0.1, 0.3)),
    "sam_on": (lowland.SAMON(rho=0.4), lambda f: ref.sam_on(f.grad, f.w, 0.4, f.norms)),
    "msam": (lowland.MSAM(rho=0.1, m=5), sharded),
    "gnp": (lowland.GNP(rho=0.1, alpha=0.3), whole(ref.gnp, 0.1, 0.3)),
    "gradient_penalty": (
        GradientPenalty(rho=0.1),
        lambda f: ref.gradient_penalty(f.grad, f.hessian, f.w, 0.1),
    ),
    "gradient_penalty, no NME": (
        GradientPenalty(rho=0.1, nme="ablated"),
        lambda f: ref.gradient_penalty(f.grad, f.gauss_newton, f.w, 0.1),
    ),
    "wsam": (lowland.WSAM(rho=0.1, gamma=0.75), decoupled),
    "wsam, coupled": (lowland.WSAM(rho=0.1, gamma=0.75, decoupled=False), whole(ref.gnp, 0.1, 3.0)),
    "f_sam": (lowland.FSAM(rho=0.1, sigma=0.7, lam=0.8), remembering(ref.f_sam, 0.1, 0.7, 0.8)),
    "vasso": (lowland.VaSSO(rho=0.1, theta=0.4), remembering(ref.vasso, 0.1, 0.4)),
    "look_sam": (lowland.LookSAM(rho=0.1, k=3, alpha=0.7), remembering(ref.look_sam, 0.1, 3, 0.7)),
    "esam": (lowland.ESAM(rho=0.1, beta=0.6, gamma=0.5), efficient),
    "k_sam": (lowland.KSAM(rho=0.1, share=0.25), lambda f: ref.k_sam(f.losses, f.grad_on, f.w, 0.1, 3)),
    "bsam": (lowland.BSAM(rho=0.1, rho_min=0.05), whole(ref.bsam, 0.1, 0.05)),
    "stale_sam": (lowland.StaleSAM(rho=0.1), remembering(ref.stale_sam, 0.1)),
    "imb_sam": (
        lowland.ImbSAM(rho=0.1, tail=(0, 2), tail_weight=2.0),
        lambda f: ref.imb_sam(f.grad_of_classes({1}), f.grad_of_classes({0, 2}), f.w, 0.1, 2.0),
    ),
    "every": (lowland.Every(method="sam:rho=0.1", k=3, start=2), every_third),
    "rst": (lowland.RST(method="sam:rho=0.05", p=0.4), at_random),
    "ae_sam": (lowland.AESAM(method="sam:rho=0.1", c=0.2, delta=0.8), remembering(ref.ae_sam, 0.1, 0.2, 0.8)),
    "obf": (
        lowland.OBF(method="sam:rho=0.1", gamma=0.5, lam=0.2),
        forgetting(ref.obf, 0.5, 0.2, "softmax", 0.1),
    ),
    "obf, sigmoid": (
        lowland.OBF(method="sam:rho=0.1", link="sigmoid"),
        forgetting(ref.obf, 1.0, 1 / 3, "sigmoid", 0.1),
    ),
    "obf in gsam": (
        lowland.OBF(method="gsam:rho=0.1,alpha=0.3", gamma=0.0),
        forgetting(ref.obf_gsam, 0.0, 1 / 3, "softmax", 0.1, 0.3),
    ),
    "obf in asam": (lowland.OBF(method="asam:rho=0.5", gamma=0.5), forgetting_asam),
    "cr_sam": (lowland.CRSAM(rho=0.1, gamma=0.2, beta=0.05), whole(ref.cr_sam, 0.1, 0.2, 0.05)),
    "gam": (
        lowland.GAM(rho_1=0.05, rho_2=0.1, beta_1=0.6, beta_2=0.4, beta_3=0.3, gamma=0.1),
        whole(ref.gam, 0.05, 0.1, (0.6, 0.4, 0.3), 0.1),
    ),
    "fisher_sam": (lowland.FisherSAM(rho=0.1, eta=5.0), whole(ref.fisher_sam, 0.1, 5.0)),
    "sparse_sam": (
        lowland.SparseSAM(rho=0.2, s=0.6, k=7, samples=5),
        lambda f: ref.sparse_sam(f.grad, f.grad_of_one, f.w, 0.2, 0.6, 7, 5, f.kept),
    ),
    "multi_step_sam": (
        lowland.MultiStepSAM(rho=0.1, steps=3, stretch=1.4),
        whole(ref.multi_step_sam, 0.1, 3, 1.4),
    ),
    "functional_sam": (
        lowland.FunctionalSAM(rho=0.1),
        lambda f: ref.functional_sam(f.grad, f.carried, f.w, 0.1),
    ),
    "eigen_sam": (
        lowland.EigenSAM(rho=0.1, alpha=0.3, k=7, iterations=4, r=0.02),
        lambda f: ref.eigen_sam(f.grad, f.w, f.noise(), 0.1, 0.3, 7, 4, 0.02, f.kept),
    ),
    "momentum_sam": (
        lowland.MomentumSAM(rho=0.1),
        lambda f: ref.momentum_sam(f.grad, f.w, 0.1, f.momentum),
    ),
    "random_perturbation": (
        lowland.RandomPerturbation(rho=0.1),
        lambda f: ref.beside(f.grad, f.w, 0.1 * ref.unit(f.noise())),
    ),
    "lpf_sgd": (lowland.LPFSGD(gamma=0.02, samples=3), smoothed),
    "rwp": (
        lowland.RWP(gamma=0.02, lam=0.3),
        lambda f: ref.rwp(f.grad, f.w, 0.02 * f.filter_noise(), 0.3),
    ),
    "sgd": (lowland.SGD(), lambda f: f.grad(f.w)),
}


def test_every_method_has_its_algebra():
    assert {name.split(",")[0].split(".")[0].split(" ")[0] for name in CASES} == set(names("methods"))


@pytest.mark.parametrize("optimizer", [sgd, adamw])
@pytest.mark.parametrize("build", [mlp, conv])
@pytest.mark.parametrize("name", CASES)
def test_follows_the_papers_algebra(name, build, optimizer):
    method, rule = CASES[name]
    model, flat = build(), Flat(build(), optimizer)
    own = optimizer(model.parameters())
    engine = method.bind(model, optimizer=own)
    for x, y in data(model):
        engine.backward(lowland.objective(model, nn.functional.cross_entropy, x, y))
        own.step()
        own.zero_grad()
        flat.step(rule, x, y)
    ours = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    torch.testing.assert_close(ours, flat.w, rtol=1e-9, atol=1e-12)


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
