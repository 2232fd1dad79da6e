"""float32 masters behind a model in bfloat16."""

import pytest
import torch
from torch import nn

import lowland
from lowland.catalog import load, names
from rigs import assert_same, batches, momentum, net


def coarse():
    return net(torch.float32).bfloat16()


def step(engine, model, x, y, scaler=None):
    goal = lowland.objective(model, nn.functional.cross_entropy, x, y)
    return engine.backward(goal, scaler=scaler)


def bound(method, model, rate=0.05, **how):
    masters = lowland.Masters(model)
    opt = torch.optim.SGD([p for p in masters.parameters() if p.requires_grad], lr=rate, momentum=0.9)
    return masters, opt, method.bind(model, optimizer=opt, masters=masters, **how)


def data(steps=6):
    return batches(steps, dtype=torch.bfloat16)


@pytest.mark.parametrize("name", names("methods"))
def test_the_model_is_its_masters_rounded_before_and_after_every_step(name):
    model = coarse()
    masters, opt, engine = bound(load("methods", name)(), model)
    for x, y in data():
        before = [p.clone() for p in model.parameters()]
        fine = [p.clone() for p in masters.parameters()]
        step(engine, model, x, y)
        assert_same(list(model.parameters()), before)
        assert_same(masters.parameters(), fine)
        assert all(p.grad is None for p in model.parameters())
        opt.step()
        opt.zero_grad()
        for p in model.parameters():
            assert_same(p.detach(), masters.of(p).detach().to(p.dtype))


def wide(dtype):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(300, 300), nn.Tanh(), nn.Linear(300, 3)).to(dtype)


def moved(model, engine, opt):
    """Shares of the first layer's weights that are elsewhere in the second pass of the second step."""
    seen, before = [], []

    def look(*_):
        seen.append((model[0].weight.detach() != before[-1]).float().mean().item())

    x, y = torch.randn(16, 300), torch.arange(16) % 3
    model.register_forward_pre_hook(look)
    for _ in range(2):
        before.append(model[0].weight.detach().clone())
        engine.backward(lambda: nn.functional.cross_entropy(model(x.bfloat16()).float(), y))
        opt.step()
        opt.zero_grad()
    return seen[3]


def test_more_of_a_small_perturbation_survives_rounding_than_without():
    rounded = wide(torch.bfloat16)
    opt = torch.optim.SGD(rounded.parameters(), lr=0.05)
    with pytest.warns(UserWarning, match=r"most of a perturbation is lost in rounding\. Keep float32 weights"):
        engine = lowland.SAM(rho=0.01).bind(rounded, optimizer=opt)
    model = wide(torch.bfloat16)
    _, opt_of_masters, fine = bound(lowland.SAM(rho=0.01), model)
    assert moved(model, fine, opt_of_masters) > moved(rounded, engine, opt)


def test_the_perturbation_is_right_on_average():
    """Rounded from float32, the model moves along the perturbation by its length, within sampling error."""
    model = wide(torch.bfloat16)
    masters, _, engine = bound(lowland.SAM(rho=0.05), model)
    with torch.no_grad():
        for p in masters.parameters():
            p.add_(torch.randn_like(p) * 1e-3)  # as training leaves them: between the grid's points
    masters.push()
    before = [p.detach().float().clone() for p in model.parameters()]
    along, g = [], []
    x, y = torch.randn(16, 300).bfloat16(), torch.arange(16) % 3

    def closure():
        along.append([p.detach().float() - b for p, b in zip(model.parameters(), before, strict=True)])
        return nn.functional.cross_entropy(model(x).float(), y)

    lowland.SGD().bind(model, optimizer=engine._optimizer, masters=masters).backward(closure)
    g = [masters.of(p).grad for p in model.parameters()]
    length = torch.stack([part.norm() for part in g]).norm()
    engine._optimizer.zero_grad()
    engine.backward(closure)
    realised = sum((e * part).sum() for e, part in zip(along[2], g, strict=True)) / length
    assert realised.item() == pytest.approx(0.05, rel=0.1)


def test_float32_models_train_as_without_masters_in_bfloat16_only_rounded():
    model = coarse()
    with pytest.raises(ValueError, match="got none: it needs no masters"):
        lowland.Masters(net(torch.float32))
    with pytest.raises(ValueError, match="masters must come with the optimizer"):
        lowland.SAM().bind(model, masters=lowland.Masters(model))
    with pytest.raises(ValueError, match="must train the masters"):
        lowland.SAM().bind(model, optimizer=momentum(model), masters=lowland.Masters(model))


def test_a_scaled_run_equals_the_unscaled_one():
    runs = []
    for scaler in (None, torch.amp.GradScaler("cpu", init_scale=2.0**6)):
        model = coarse()
        masters, opt, engine = bound(lowland.SAM(rho=0.05), model)
        for x, y in data():
            step(engine, model, x, y, scaler)
            opt.step() if scaler is None else (scaler.step(opt), scaler.update())
            opt.zero_grad()
        runs.append([p.detach() for p in masters.parameters()])
    assert_same(*runs)


def test_a_state_brings_masters_and_model_back():
    model = coarse()
    masters, opt, engine = bound(lowland.SAM(), model)
    for x, y in data(2):
        step(engine, model, x, y)
        opt.step()
        opt.zero_grad()
    other = coarse()
    fresh = lowland.Masters(other)
    fresh.load_state_dict(masters.state_dict())
    assert_same(list(other.parameters()), list(model.parameters()))
    with pytest.raises(ValueError, match=r"got a difference in head\.bias"):
        fresh.load_state_dict({k: v for k, v in masters.state_dict().items() if k != "head.bias"})
    with torch.no_grad():
        other.head.bias.fill_(1.0)
    fresh.pull()
    assert_same(fresh.of(other.head.bias).detach(), torch.ones(3))


def test_a_failed_pass_leaves_masters_and_model_alone():
    model = coarse()
    masters, _, engine = bound(lowland.SAM(), model)
    before, calls = [p.clone() for p in [*masters.parameters(), *model.parameters()]], []
    x, y = next(iter(data(1)))

    def closure():
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return nn.functional.cross_entropy(model(x), y)

    with pytest.raises(KeyboardInterrupt):
        engine.backward(closure)
    assert_same([*masters.parameters(), *model.parameters()], before)
