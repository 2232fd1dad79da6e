import os
import signal
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import lowland
from lowland.engine.request import Direction
from lowland.engine.step import Step
from lowland.vector import Vector
from rigs import assert_same, batches, everything, momentum, net, train


def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 1)).double()


def loss_of(model, scale=1.0):
    x = torch.arange(8.0, dtype=torch.float64).view(2, 4)
    return lambda: model(x).pow(2).mean() * scale


def places(method, model, **how):
    """Where the weights were in the last pass of one step, as offsets by name."""
    seen = []
    before = {name: p.detach().clone() for name, p in model.named_parameters()}

    def closure():
        seen.append({name: p.detach() - before[name] for name, p in model.named_parameters()})
        return loss_of(model)()

    method.bind(model, **how).backward(closure)
    return seen[-1]


def length(parts):
    return torch.cat([p.reshape(-1) for p in parts]).norm().item()


def test_perturbs_by_rho_in_one_global_norm():
    assert length(places(lowland.SAM(rho=0.3), linear()).values()) == pytest.approx(0.3)


def test_where_leaves_the_others_in_place():
    moved = places(lowland.SAM(rho=0.3), linear(), where="0.*")
    assert length([moved["0.weight"], moved["0.bias"]]) == pytest.approx(0.3)
    assert length([part for name, part in moved.items() if name[0] != "0"]) == 0


@pytest.mark.parametrize(
    ("where", "names"),
    [
        (lowland.norm_only, {"1.weight", "1.bias"}),
        (lowland.no_norm, {"0.weight", "0.bias", "2.weight", "2.bias"}),
        (lowland.no_bias, {"0.weight", "1.weight", "2.weight"}),
        (lambda site: site.parameter.ndim > 1, {"0.weight", "2.weight"}),
    ],
)
def test_filters_pick_by_module_name_and_parameter(where, names):
    moved = places(lowland.SAM(rho=0.3), linear(), where=where)
    assert {name for name, part in moved.items() if part.abs().sum() > 0} == names


def test_radii_stretch_one_groups_perturbation_only():
    plain = places(lowland.SAM(rho=0.3), linear())
    stretched = places(lowland.SAM(rho=0.3), linear(), radii={"2.*": 0.5, "0.bias": 0.0})
    torch.testing.assert_close(stretched["2.weight"], plain["2.weight"] / 2)
    torch.testing.assert_close(stretched["0.weight"], plain["0.weight"])
    assert stretched["0.bias"].abs().sum() == 0


def test_every_pass_may_update_buffers():
    clean, every = net(), net()
    for model, policy in ((clean, "clean"), (every, "every")):
        train(lowland.SAM(), model, steps=2, buffers=policy)
    assert clean.norm.num_batches_tracked == 2
    assert every.norm.num_batches_tracked == 4


def test_a_buffer_that_a_pass_replaces_is_put_back():
    class Counter(nn.Linear):
        def forward(self, x):
            self.seen = self.seen + 1
            return super().forward(x)

    model = Counter(2, 1)
    model.register_buffer("seen", torch.zeros(()))
    lowland.SAM().bind(model).backward(lambda: model(torch.ones(1, 2)).sum())
    assert model.seen.item() == 1


@pytest.mark.parametrize(("policy", "alike"), [("same", True), ("fresh", False)])
def test_dropout_masks_repeat_or_not(policy, alike):
    model, masks = nn.Sequential(nn.Dropout(0.5), nn.Linear(50, 1)), []

    def closure():
        out = model[0](torch.ones(50))
        masks.append(out)
        return model[1](out).sum()

    lowland.SAM().bind(model, rng=policy).backward(closure)
    assert torch.equal(*masks) == alike


def test_accumulating_micro_batches_adds_their_directions():
    model, other = linear(), linear()
    engine = lowland.SAM(rho=0.2).bind(model)
    engine.backward(loss_of(model, 0.5))
    engine.backward(loss_of(model, 0.25))
    total = None
    for scale in (0.5, 0.25):
        other.zero_grad()
        lowland.SAM(rho=0.2).bind(other).backward(loss_of(other, scale))
        grads = [p.grad.clone() for p in other.parameters()]
        total = grads if total is None else [a + b for a, b in zip(total, grads, strict=True)]
    torch.testing.assert_close([p.grad for p in model.parameters()], total)


def test_backward_many_ascends_once_for_the_whole_batch():
    whole, parts = net(), net()
    whole.eval(), parts.eval()
    (x, y), loss = next(batches(1)), nn.functional.cross_entropy
    one = lowland.SAM(rho=0.2).bind(whole).backward(lambda: loss(whole(x), y))
    closures = [lambda r=r: loss(parts(x[r]), y[r]) / 2 for r in (slice(0, 4), slice(4, 8))]
    engine = lowland.SAM(rho=0.2).bind(parts)
    torch.testing.assert_close(engine.backward_many(closures), one)
    torch.testing.assert_close([p.grad for p in parts.parameters()], [p.grad for p in whole.parameters()])
    assert engine.passes == 2


def test_backward_many_shards_every_closure():
    whole, parts = linear(), linear()
    x, y = torch.randn(6, 4).double(), torch.randn(6, 1).double()
    method, loss = lowland.MSAM(rho=0.2, m=3), nn.functional.mse_loss
    method.bind(whole).backward(lowland.objective(whole, loss, x, y))
    half = lambda out, target: loss(out, target) / 2  # noqa: E731
    engine = method.bind(parts)
    engine.backward_many([lowland.objective(parts, half, x[r], y[r]) for r in (slice(0, 3), slice(3, 6))])
    torch.testing.assert_close([p.grad for p in parts.parameters()], [p.grad for p in whole.parameters()])
    assert engine.passes == 2


def test_preset_gradient_tensors_are_kept():
    model = linear()
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    homes = [p.grad for p in model.parameters()]
    lowland.SAM().bind(model).backward(loss_of(model))
    assert all(p.grad is home for p, home in zip(model.parameters(), homes, strict=True))
    assert length(homes) > 0


def test_a_gradient_present_in_one_pass_only_is_handled():
    model, calls = nn.ParameterDict({k: nn.Parameter(torch.ones(2)) for k in ("both", "first", "second")}), []

    def closure():
        calls.append(1)
        other = model["first"] if len(calls) == 1 else model["second"]
        return (model["both"] ** 2).sum() + 3 * other.sum()

    lowland.SAM().bind(model).backward(closure)
    assert model["first"].grad is None
    assert model["second"].grad.tolist() == [3, 3]
    assert all((p == 1).all() for p in model.parameters())


def test_parameters_may_be_frozen_between_steps():
    model = linear()
    engine = lowland.SAM().bind(model)
    engine.backward(loss_of(model))
    model.zero_grad()
    model[0].requires_grad_(False)
    engine.backward(loss_of(model))
    assert model[0].weight.grad is None
    assert model[2].weight.grad is not None


def test_weights_cast_before_the_step_are_cast_again_under_autocast():
    inside, outside = linear().float(), linear().float()
    x = torch.randn(5, 4)

    def closure(model):
        with torch.autocast("cpu", torch.bfloat16):
            return model(x).float().pow(2).mean()

    lowland.SAM(rho=1.0).bind(outside).backward(lambda: closure(outside))
    with torch.autocast("cpu", torch.bfloat16):
        lowland.SAM(rho=1.0).bind(inside).backward(lambda: closure(inside))
    assert_same([p.grad for p in inside.parameters()], [p.grad for p in outside.parameters()])


def test_bfloat16_weights_come_back_bit_for_bit():
    model = linear().bfloat16()
    before = [p.clone() for p in model.parameters()]
    x = torch.randn(5, 4).bfloat16()
    with pytest.warns(UserWarning, match="most of a perturbation is lost in rounding"):
        engine = lowland.SAM(rho=0.05).bind(model, watch=True)
    engine.backward(lambda: model(x).float().pow(2).mean())
    assert_same(list(model.parameters()), before)
    assert 0 < engine.telemetry["length"].item() != 1  # rounding shows


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_large_and_strided_weights_are_moved_in_pieces(layout):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(64, 96, 3), nn.Flatten(), nn.Linear(96, 4)).to(memory_format=layout)
    before = [p.clone() for p in model.parameters()]
    x = torch.randn(2, 64, 3, 3).to(memory_format=layout)
    engine = lowland.SAM(rho=0.5).bind(model, watch=True)
    engine.backward(lambda: model(x).pow(2).mean())
    assert_same(list(model.parameters()), before)
    assert engine.telemetry["length"].item() == pytest.approx(1, rel=1e-4)


def test_ctrl_c_in_a_pass_leaves_all_as_before():
    model = net()
    engine, before, calls = lowland.SAM().bind(model), everything(model), []
    (x, y) = next(batches(1))

    def closure():
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return nn.functional.cross_entropy(model(x), y)

    with pytest.raises(KeyboardInterrupt):
        engine.backward(closure)
    assert_same(everything(model), before)


def test_telemetry_says_what_the_step_did():
    model = linear()
    engine = lowland.SAM(rho=0.1).bind(model, watch=True)
    loss = engine.backward(loss_of(model))
    seen = {key: float(value) for key, value in engine.telemetry.items()}
    assert seen["loss"] == loss.item()
    assert seen["sharpness"] > 0
    assert seen["passes"] == 2
    assert seen["ascended"] == 1
    assert seen["length"] == pytest.approx(1)
    assert 0 < seen["cosine"] <= 1


def test_a_step_without_gradient_is_no_ascent():
    model = linear()
    engine = lowland.SAM(rho=0.1).bind(model)
    engine.backward(loss_of(model, 0.0))
    assert engine.telemetry["ascended"].item() == 0


@dataclass(frozen=True, kw_only=True)
class Friendly(lowland.Method):
    """A method with memory: ascend along the gradient less its running mean."""

    def direction(self, step: Step) -> Direction:
        g = yield step.gradient()
        mean = 0.5 * (step.recall("mean") or Vector()) + 0.5 * g
        step.remember("mean", mean)
        return (yield step.gradient(at=lowland.ball(g - mean, 0.1)))


def test_memory_is_saved_by_parameter_name_and_resumes_exactly():
    whole, model, state = train(Friendly()), net(), None
    opt, data = momentum(model), list(batches(6))
    torch.manual_seed(3)
    for x, y in data:
        engine = Friendly().bind(model)
        engine.load_state_dict(state) if state else None
        engine.backward(lambda x=x, y=y: nn.functional.cross_entropy(model(x), y))
        opt.step(), opt.zero_grad()
        state = engine.state_dict()
    assert_same(everything(model), whole)
    assert set(state["memory"]["mean"]) == {n for n, _ in model.named_parameters()} - {"frozen", "unused"}


def test_memory_is_forgotten_when_the_step_fails():
    model, calls = linear(), []
    engine = Friendly().bind(model)

    def closure():
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("stop")
        return loss_of(model)()

    with pytest.raises(RuntimeError, match="stop"):
        engine.backward(closure)
    assert engine.state_dict()["memory"] == {}


def test_the_bound_optimisers_steps_are_counted():
    model = linear()
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    engine = lowland.SAM().bind(model, optimizer=opt)
    for _ in range(4):
        engine.backward(loss_of(model))
    assert engine.count == 0
    opt.step()
    assert engine.count == 1


def test_every_skips_the_passes_it_skips():
    model = linear()
    engine = lowland.Every(method="sam:rho=0.1", k=3, start=2).bind(model)
    taken = []
    for _ in range(9):
        engine.backward(loss_of(model))
        taken.append(engine.telemetry["passes"])
    assert taken == [1, 1, 2, 1, 1, 2, 1, 1, 2]


def test_what_a_method_draws_follows_the_seed_and_nothing_else():
    def drawn(seed, torch_seed):
        model = linear()
        torch.manual_seed(torch_seed)
        engine = lowland.RandomPerturbation(rho=1.0).bind(model, seed=seed)
        engine.backward(loss_of(model))
        return model[0].weight.grad

    assert_same(drawn(1, 5), drawn(1, 6))
    assert not torch.equal(drawn(1, 5), drawn(2, 5))
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        lowland.SAM().bind(linear(), seed=-1)
