"""Trace penalties estimate the exact traces of small networks without bias."""

import pytest
import torch
from torch import nn
from torch.autograd.functional import hessian, jacobian
from torch.func import functional_call

import lowland
from lowland.methods.gradient_penalty import GradientPenalty
from lowland.penalties.gauss_newton_trace import GaussNewtonTrace
from lowland.penalties.hessian_trace import HessianTrace

N, K = 6, 3


def half_square(z, y):
    return (z - y).square().sum() / 2 / len(z)


def coins(z, y):
    return nn.functional.binary_cross_entropy_with_logits(z, y, reduction="sum") / len(z)


LOSSES = {"categorical": nn.functional.cross_entropy, "bernoulli": coins, "gaussian": half_square}


class Case:
    """A small network with its data, and the loss of a likelihood as a function of one flat vector."""

    def __init__(self, likelihood="categorical", norm=False):
        torch.manual_seed(0)
        between = [nn.BatchNorm1d(4)] if norm else []
        self.model = nn.Sequential(nn.Linear(4, 4), *between, nn.Tanh(), nn.Linear(4, K)).double()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.x, self.criterion = torch.randn(N, 4, dtype=torch.float64), LOSSES[likelihood]
        real = likelihood == "gaussian"
        self.y = torch.randn(N, K, dtype=torch.float64) if real else torch.randint(2, (N, K)).double()
        if likelihood == "categorical":
            self.y = torch.randint(K, (N,))
        self.w = nn.utils.parameters_to_vector(self.model.parameters()).detach()

    def outputs(self, w):
        sizes = [p.numel() for p in self.model.parameters()]
        named = zip(self.model.named_parameters(), w.split(sizes), strict=True)
        buffers = {n: b.clone() for n, b in self.model.named_buffers()}
        return functional_call(self.model, {n: part.view(p.shape) for (n, p), part in named} | buffers, self.x)

    def loss(self, w):
        return self.criterion(self.outputs(w), self.y)

    def hessian_trace(self, w):
        return hessian(self.loss, w, create_graph=True).trace()

    def gauss_newton_trace(self, w):
        """With the loss's second derivative held as it is at the weights."""
        J = jacobian(lambda w: self.outputs(w).reshape(-1), w, create_graph=True)
        return ((self.curve() @ J) * J).sum()

    def curve(self):
        return hessian(lambda z: self.criterion(z.view(N, K), self.y), self.outputs(self.w).reshape(-1))

    def term(self, penalty):
        """The term's value and gradient in one call, as one flat vector."""
        bound = penalty.bind(self.model, self.optimizer)
        z = self.model(self.x)
        value = bound(self.criterion(z, self.y)) if isinstance(penalty, HessianTrace) else bound(z)
        bound.remove()
        grads = torch.autograd.grad(
            value, list(self.model.parameters()), materialize_grads=True, allow_unused=True
        )
        return value.detach(), torch.cat([g.reshape(-1) for g in grads])


def unbiased(case, penalty, trace, calls=300):
    """Value and slope along a direction, means over calls, are within 4 standard errors of the exact ones."""
    torch.manual_seed(1)
    v = torch.randn_like(case.w)
    drawn = torch.stack([torch.stack([value, g @ v]) for value, g in (case.term(penalty) for _ in range(calls))])
    w = case.w.clone().requires_grad_()
    exact = trace(w)
    slope = torch.autograd.grad(exact, w)[0] @ v
    expected = penalty.sigma**2 / 2 * torch.stack([exact.detach(), slope])
    assert ((drawn.mean(0) - expected).abs() < 4 * drawn.std(0) / calls**0.5).all()


@pytest.mark.parametrize("likelihood", LOSSES)
def test_the_hessians_is_unbiased_and_so_is_its_gradient(likelihood):
    case = Case(likelihood)
    unbiased(case, HessianTrace(sigma=0.3), case.hessian_trace)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("likelihood", LOSSES)
def test_the_gauss_newton_matrixs_is_unbiased_and_so_is_its_gradient_at_fixed_curvature(likelihood, norm):
    case = Case(likelihood, norm)
    unbiased(case, GaussNewtonTrace(sigma=0.3, likelihood=likelihood), case.gauss_newton_trace)


@pytest.mark.parametrize("kind", [HessianTrace, GaussNewtonTrace])
def test_more_samples_are_nearer_as_their_number_says(kind):
    torch.manual_seed(2)
    case = Case()
    one, many = (
        torch.stack([case.term(kind(sigma=1.0, samples=samples))[0] for _ in range(120)]) for samples in (1, 9)
    )
    assert one.std() / many.std() == pytest.approx(3, rel=0.3)


def test_the_gauss_newton_term_is_never_below_zero():
    case = Case()
    assert all(case.term(GaussNewtonTrace())[0] >= 0 for _ in range(50))


def test_the_trace_is_over_what_the_optimiser_trains():
    case = Case()
    case.optimizer = torch.optim.SGD(case.model[2].parameters(), lr=0.1)
    torch.manual_seed(3)
    some = case.term(GaussNewtonTrace(samples=400))[0] / 0.01**2 * 2
    J = jacobian(lambda w: case.outputs(torch.cat([case.w[:20], w])).reshape(-1), case.w[20:])
    assert some.item() == pytest.approx(((case.curve() @ J) * J).sum().item(), rel=0.2)


def test_a_loss_that_is_linear_in_the_weights_has_no_hessian():
    model = nn.Linear(4, 1)
    bound = HessianTrace().bind(model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert bound(model(torch.ones(2, 4)).mean()).item() == 0


@pytest.mark.parametrize("method", [lowland.SAM(rho=0.1), GradientPenalty(rho=0.1)])
@pytest.mark.parametrize("kind", [HessianTrace, GaussNewtonTrace])
def test_methods_perturb_and_differentiate_the_penalised_loss_too(kind, method):
    case = Case()
    bound = kind(sigma=0.3).bind(case.model, case.optimizer)

    def closure():
        z = case.model(case.x)
        loss = case.criterion(z, case.y)
        return loss + (bound(loss) if kind is HessianTrace else bound(z))

    method.bind(case.model).backward(closure)
    assert all(p.grad.isfinite().all() for p in case.model.parameters())


@pytest.mark.parametrize("kind", [HessianTrace, GaussNewtonTrace])
def test_what_has_no_graph_is_refused_by_words(kind):
    case = Case()
    bound = kind().bind(case.model, case.optimizer)
    with pytest.raises(
        ValueError, match=r"must be a tensor with its graph, got one without: call the term in the"
    ):
        bound(torch.ones(()))


@pytest.mark.parametrize(
    ("kind", "wrong", "words"),
    [
        (HessianTrace, {"sigma": -1.0}, "sigma must be a finite number >= 0, got -1"),
        (HessianTrace, {"samples": 0}, "samples must be at least 1, got 0"),
        (
            GaussNewtonTrace,
            {"likelihood": "poisson"},
            "likelihood must be one of categorical, bernoulli, gaussian",
        ),
    ],
)
def test_bad_settings_are_refused_by_words(kind, wrong, words):
    with pytest.raises(ValueError, match=words):
        kind(**wrong)
