"""torch.compile: a compiled model and a compiled closure train as the plain ones do, compiled once."""

import shutil

import pytest
import torch
from torch import nn

import lowland
from rigs import assert_same, batches, everything, momentum, net

METHODS = [lowland.SAM(rho=0.1), lowland.GSAM(rho=0.1), lowland.ASAM(), lowland.LookSAM(k=2), lowland.OBF()]


def run(method, wrap_model=None, wrap_closure=None, steps=6, watch=None):
    """Train a net whose calls are compiled, or whose closures are."""
    model = net()
    opt, called = momentum(model), model if wrap_model is None else wrap_model(model)
    engine = method.bind(called, optimizer=opt)
    loss = nn.functional.cross_entropy

    def compute(x, y):
        return loss(called(x), y)

    compute = compute if wrap_closure is None else wrap_closure(compute)
    torch.manual_seed(3)
    for number, (x, y) in enumerate(batches(steps)):
        if watch is not None:
            watch(number)
        if isinstance(method, lowland.OBF):
            engine.backward(lowland.objective(called, loss, x, y))
        else:
            engine.backward(lambda x=x, y=y: compute(x, y))
        opt.step()
        opt.zero_grad()
    return everything(model)


def compiled(thing):
    torch._dynamo.reset()
    return torch.compile(thing, backend="aot_eager")


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_a_compiled_model_trains_as_the_plain_one(method):
    assert_same(run(method, wrap_model=compiled), run(method))


def test_a_compiled_closure_trains_as_the_plain_one():
    assert_same(run(lowland.SAM(rho=0.1), wrap_closure=compiled), run(lowland.SAM(rho=0.1)))


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_nothing_is_compiled_again_after_the_first_step(method):
    seen = []

    def watch(number):
        seen.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])

    torch._dynamo.utils.counters.clear()
    run(method, wrap_model=compiled, watch=watch)
    assert seen[1] >= 1
    assert len(set(seen[1:])) == 1


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")  # torch imports its own
def test_the_default_compiler_comes_close_to_the_plain_model():
    def inductor(model):
        torch._dynamo.reset()
        return torch.compile(model, options={"fallback_random": True})  # dropout as eager draws it

    ours, plain = (run(lowland.SAM(rho=0.1), wrap_model=w)["state"] for w in (inductor, None))
    torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-12)
