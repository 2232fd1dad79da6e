"""What every training method must obey, without naming one."""

import dataclasses

import pytest
import torch
from torch import nn

import lowland
from lowland.catalog import load, names
from rigs import assert_same, batches, everything, momentum, net, train

METHODS = names("methods")

pytestmark = pytest.mark.parametrize("name", METHODS)


def bound(name, model):
    method = load("methods", name)()
    return method.bind(model, optimizer=momentum(model))


def step(engine, model, poison=None):
    """One backward on a batch; ``poison`` multiplies the outputs of the first forward pass."""
    x, y = next(iter(batches(1)))
    calls = []

    def spoil(module, inputs, outputs):
        calls.append(1)
        return outputs if poison is None or len(calls) > 1 else outputs * poison

    handle = model.head.register_forward_hook(spoil)
    try:
        return engine.backward(lowland.objective(model, nn.functional.cross_entropy, x, y))
    finally:
        handle.remove()


def test_builds_with_defaults_and_is_frozen(name):
    method = load("methods", name)()
    with pytest.raises(dataclasses.FrozenInstanceError):
        method.PASSES = 7


def test_says_its_formula_and_where_it_comes_from(name):
    doc = load("methods", name).__doc__
    assert name in {"sgd", "every"} or ("References:" in doc and r":math:" in doc)


def test_takes_the_passes_it_states(name):
    model, taken = net(), {True: 0.0, False: 0.0}
    engine = bound(name, model)
    method = engine.method
    model.register_forward_hook(
        lambda m, x, o: taken.update({(g := torch.is_grad_enabled()): taken[g] + len(o) / 8})
    )
    steps = getattr(method, "k", 10)
    for _ in range(steps):
        step(engine, model)
        engine._optimizer.step()
        engine._optimizer.zero_grad()
    assert (taken[True], taken[False]) == pytest.approx((engine.passes, engine.forwards))
    assert method.VARIES or (engine.passes, engine.forwards) == pytest.approx(
        (steps * method.passes, steps * method.forwards)
    )


def test_leaves_the_weights_bit_identical(name):
    model = net()
    before = [p.clone() for p in model.parameters()]
    step(bound(name, model), model)
    assert_same(list(model.parameters()), before)


def test_touches_buffers_modes_and_random_state_like_one_plain_pass(name):
    left, right = net(), net()
    for model, method in ((left, name), (right, "sgd")):
        torch.manual_seed(5)
        step(bound(method, model), model)
        model.zero_grad()
        model.random_state = torch.get_rng_state()
    assert_same(left.random_state, right.random_state)
    if load("methods", name).CLEAN:
        assert_same(left.state_dict(), right.state_dict())


def test_adds_to_the_gradients_that_are_there(name):
    fresh, full = net(), net()
    for model in (fresh, full):
        torch.manual_seed(5)
        for p in model.parameters():
            p.grad = torch.ones_like(p) if model is full and p.requires_grad else None
        step(bound(name, model), model)
    for p, q in zip(fresh.parameters(), full.parameters(), strict=True):
        if q.grad is not None:
            expected = 1.0 if p.grad is None else 1.0 + p.grad
            torch.testing.assert_close(
                q.grad, torch.as_tensor(expected).expand_as(q), rtol=1e-12, atol=1e-15, check_dtype=False
            )


def test_gives_no_gradient_to_frozen_and_unused_parameters(name):
    model = net()
    step(bound(name, model), model)
    assert [n for n, p in model.named_parameters() if p.grad is None] == ["frozen", "unused"]


def test_returns_the_clean_loss(name):
    if not load("methods", name).CLEAN:
        pytest.skip("takes no pass at the weights")
    model, plain = net(), net()
    torch.manual_seed(5)
    loss = step(bound(name, model), model)
    torch.manual_seed(5)
    torch.testing.assert_close(loss, step(bound("sgd", plain), plain), rtol=1e-12, atol=0)
    assert not loss.requires_grad


@pytest.mark.parametrize("poison", [0.0, float("inf"), float("nan")])
def test_a_first_gradient_that_is_zero_or_not_finite_leaves_the_weights_alone(name, poison):
    model = net()
    before = [p.clone() for p in model.parameters()]
    step(bound(name, model), model, poison)
    assert_same(list(model.parameters()), before)


@pytest.mark.parametrize("poison", [float("inf"), float("nan")])
def test_what_is_not_finite_is_not_remembered(name, poison):
    model = net()
    engine = bound(name, model)
    step(engine, model)
    step(engine, model, poison)
    values = torch.utils._pytree.tree_leaves(engine.state_dict()["memory"])
    assert all(torch.isfinite(value).all() for value in values)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("at", [1, 2])
def test_is_as_if_it_had_not_begun_when_a_pass_raises(name, error, at):
    model = net()
    engine = bound(name, model)
    step(engine, model)
    before, count, calls = everything(model), engine.count, []

    def criterion(outputs, targets):
        model.eval()
        calls.append(1)
        if len(calls) == at:
            raise error("stop")
        return nn.functional.cross_entropy(outputs, targets)

    if at > engine.method.passes:
        pytest.skip("never takes that pass")
    with pytest.raises(error, match="stop"):
        engine.backward(lowland.objective(model, criterion, *next(iter(batches(1)))))
    assert_same(everything(model), before)
    assert engine.count == count


def test_goes_on_from_a_checkpoint_bit_for_bit(name, tmp_path):
    whole = train(load("methods", name)(), steps=6)
    model, data = net(), list(batches(6))
    torch.manual_seed(3)
    for part in (data[:3], data[3:]):
        opt = momentum(model)
        engine = load("methods", name)().bind(model, optimizer=opt)
        if (tmp_path / "state").exists():
            state = torch.load(tmp_path / "state", weights_only=True)
            engine.load_state_dict(state["engine"])
            opt.load_state_dict(state["optimizer"])
        for x, y in part:
            engine.backward(lowland.objective(model, nn.functional.cross_entropy, x, y))
            opt.step()
            opt.zero_grad()
        torch.save({"engine": engine.state_dict(), "optimizer": opt.state_dict()}, tmp_path / "state")
    assert_same(everything(model), whole)
    assert engine.count == 6


def test_a_scaled_run_equals_the_unscaled_one(name):
    runs = []
    for scaler in (None, torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)):
        model = net()
        opt = momentum(model)
        engine = load("methods", name)().bind(model, optimizer=opt)
        for x, y in batches(8):
            engine.backward(lowland.objective(model, nn.functional.cross_entropy, x, y), scaler=scaler)
            opt.step() if scaler is None else (scaler.unscale_(opt), scaler.step(opt), scaler.update())
            opt.zero_grad()
        runs.append(everything(model)["state"])
    torch.testing.assert_close(*runs, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_a_scaler_skips_a_step_whose_first_gradient_is_not_finite(name, bad):
    model = net()
    opt, scaler = momentum(model), torch.amp.GradScaler("cpu")
    engine = load("methods", name)().bind(model, optimizer=opt)
    before, calls = [p.clone() for p in model.parameters()], []
    x, y = next(iter(batches(1)))

    def spoil(module, inputs, outputs):
        calls.append(torch.is_grad_enabled())
        return outputs * (bad if sum(calls) == 1 and calls[-1] else 1.0)

    model.head.register_forward_hook(spoil)
    engine.backward(lowland.objective(model, nn.functional.cross_entropy, x, y), scaler=scaler)
    scaler.step(opt)
    scaler.update()
    assert_same(list(model.parameters()), before)
    assert scaler.get_scale() == 2.0**15


def test_never_waits_for_the_device_unless_it_says_so(name):
    """On the meta device any read of a value raises, as a synchronisation would be one."""
    model = net().to("meta")
    engine = bound(name, model)
    x = torch.empty(8, 1, 4, 4, dtype=torch.float64, device="meta")
    y = torch.zeros(8, dtype=torch.long, device="meta")
    goal = lowland.objective(model, nn.functional.cross_entropy, x, y)
    if engine.method.WAITS:
        with pytest.raises(RuntimeError, match="meta"):
            engine.backward(goal)
        return
    engine.backward(goal)
    assert model.head.weight.grad.device.type == "meta"
