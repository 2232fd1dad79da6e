"""Whatever happens, the model and the process are as before."""

import copy

import pytest
import torch
from torch import nn

from lowland.operators.fisher import fisher
from lowland.operators.gauss_newton import gauss_newton
from lowland.operators.hessian import hessian
from lowland.operators.jacobian import jacobian
from lowland.operators.nme import nme
from lowland.operators.problem import problem
from operators.networks import case
from rigs import assert_same, everything

USES = {
    "hessian": lambda p: hessian(p) @ ones(p),
    "nme": lambda p: nme(p) @ ones(p),
    "gauss_newton": lambda p: gauss_newton(p) @ ones(p),
    "fisher": lambda p: fisher(p, "mc") @ ones(p),
    "jacobian": lambda p: jacobian(p).T @ (jacobian(p) @ ones(p)),
    "gradient": lambda p: p.gradient(),
    "mean_loss": lambda p: p.mean_loss(),
    "examples": lambda p: p.batches.examples,
}


def ones(p):
    return torch.ones(p.size, dtype=p.dtype)


def switches():
    sdp = torch.backends.cuda
    return {
        "fast path": torch.backends.mha.get_fastpath_enabled(),
        "attention": (sdp.flash_sdp_enabled(), sdp.mem_efficient_sdp_enabled(), sdp.math_sdp_enabled()),
        "cudnn": torch.backends.cudnn.enabled,
        "grad": torch.is_grad_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
    }


def state(model):
    pointers = [t.data_ptr() for t in (*model.parameters(), *model.buffers())]
    versions = [t._version for t in (*model.parameters(), *model.buffers())]
    return everything(model) | {"switches": switches(), "pointers": pointers, "versions": versions}


def used(name):
    """A network in mixed modes, with gradients, in the middle of training."""
    found = case(name)
    found.model.train()
    next(iter(found.model.children())).eval()
    found.loss(found.model(found.data[0][0]), found.data[0][1]).backward()
    return found


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("engine", ["double_backward", "finite_difference"])
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", ["residual, batch norm", "attention", "lstm"])
def test_nothing_is_left_on_the_model(name, use, engine, mode):
    found = used(name)
    before = state(found.model)
    p = found.problem(mode=mode, engine=engine)
    with torch.no_grad():
        USES[use](p)
        USES[use](p)
    assert_same(state(found.model), before)


class Failing:
    """A loss that fails after some calls."""

    def __init__(self, error, calls):
        self.error, self.calls = error, calls

    def __call__(self, outputs, targets):
        self.calls -= 1
        if not self.calls:
            raise self.error("the loss failed")
        return nn.functional.cross_entropy(outputs, targets)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("engine", ["double_backward", "finite_difference"])
@pytest.mark.parametrize("use", ["hessian", "nme", "gauss_newton", "gradient", "mean_loss"])
def test_nothing_is_left_when_the_loss_fails(use, engine, error):
    found = used("residual, batch norm")
    before, failed = state(found.model), 0
    for calls in range(1, 12):
        loss = Failing(error, calls)
        try:
            USES[use](problem(found.model, loss, found.data, mode="train", engine=engine))
        except error:
            failed += 1
        assert_same(state(found.model), before)
    assert failed >= 4


def test_a_graph_that_the_user_holds_stays_valid():
    found = case("residual, batch norm")
    found.model.train()
    loss = found.loss(found.model(found.data[0][0]), found.data[0][1])
    for engine in ("double_backward", "finite_difference"):
        p = found.problem(mode="train", engine=engine)
        hessian(p) @ ones(p)
    loss.backward()


def test_two_operators_take_turns():
    p = case("attention, train").problem()
    H, G = hessian(p), gauss_newton(p)
    first = H @ ones(p), G @ ones(p)
    second = H @ ones(p), G @ ones(p)
    assert_same(first, second)


def test_the_same_seed_draws_the_same_masks_whatever_happens_between():
    found = case("attention, train")
    H = hessian(found.problem())
    first = H @ ones(H.problem)
    torch.rand(17)
    again = hessian(found.problem(memory=60_000))
    assert_same(again @ ones(H.problem), again @ ones(H.problem))
    torch.testing.assert_close(again @ ones(H.problem), first, rtol=1e-12, atol=1e-14)
    other = hessian(found.problem(seed=1)) @ ones(H.problem)
    assert (other - first).norm() > 1e-3 * first.norm()


def test_a_models_own_idea_of_its_mode_is_respected():
    class Frozen(nn.BatchNorm2d):
        def train(self, mode=True):
            return super().train(False)

    def norms(model):
        return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]

    found = case("residual, batch norm")
    still = copy.deepcopy(found)
    for module in norms(still.model):
        module.__class__ = Frozen
    still.model.train()
    a = hessian(found.problem(mode="eval"))
    b = hessian(still.problem(mode="train"))
    torch.testing.assert_close(a @ ones(a.problem), b @ ones(b.problem), rtol=1e-12, atol=1e-14)
