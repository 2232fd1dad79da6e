"""Laws that released implementations of these methods break, or broke."""

import copy

import pytest
import torch
from torch import nn

import lowland
from lowland.catalog import load, names
from lowland.vector import Vector
from rigs import assert_same, batches, everything, momentum, net

METHODS = names("methods")
GROWING = {"usam", "fisher_sam"}
"""Methods whose perturbation grows with the gradient, so that the direction is not of degree one in the loss."""

every_method = pytest.mark.parametrize("name", METHODS)


def linear(dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 2)).to(dtype)


def rows(model, n=6):
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(n, 4, generator=draw, dtype=torch.float64)
    return x.to(model[0].weight.dtype), torch.arange(n) % 2


def goal_of(model, x, y, factor=1.0):
    return lowland.objective(model, nn.functional.cross_entropy, x, y, scale=factor)


def directions(method, model, count=3, factor=1.0, **settings):
    """The directions of some steps that do not move the weights, on batches that differ."""
    opt = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9, **settings)
    engine, found = method.bind(model, optimizer=opt), []
    torch.manual_seed(3)
    for x, y in batches(count):
        engine.backward(goal_of(model, x, y, factor))
        found.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
        opt.step(), opt.zero_grad()
    return found


def outputs_of(model):
    """A list that fills with what a model gives in passes with a backward."""
    seen = []
    model.register_forward_hook(
        lambda m, x, o: seen.append(o.detach().clone()) if torch.is_grad_enabled() else None
    )
    return seen


# Restoring.


@pytest.mark.filterwarnings("ignore:.*lost in rounding")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@every_method
def test_restoring_never_drifts(name, dtype):
    model = linear(dtype)
    opt = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9)
    engine, before = load("methods", name)().bind(model, optimizer=opt), copy.deepcopy(model.state_dict())
    goal = goal_of(model, *rows(model))
    for _ in range(30):
        engine.backward(goal)
        opt.step(), opt.zero_grad()
    assert_same(model.state_dict(), before)


def test_restoring_never_drifts_over_1000_steps():
    model = linear(torch.float32)
    engine, before = lowland.SAM(rho=0.3).bind(model), copy.deepcopy(model.state_dict())
    x, y = rows(model)
    for _ in range(1000):
        engine.backward(lambda: nn.functional.cross_entropy(model(x), y))
    assert_same(model.state_dict(), before)


def test_bilateral_sam_does_not_move_the_weights():
    model = linear()
    opt = torch.optim.SGD(model.parameters(), lr=0.0)
    engine, before = lowland.BSAM(rho=0.1, rho_min=0.1).bind(model, optimizer=opt), copy.deepcopy(model)
    for _ in range(50):
        engine.backward(goal_of(model, *rows(model)))
        opt.step(), opt.zero_grad()
    assert_same(model.state_dict(), before.state_dict())


def test_momentum_sam_under_a_radius_schedule_restores_exactly():
    model = linear(torch.float32)
    opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    engine = lowland.MomentumSAM(rho=lowland.Cosine(3.0, 0.1, steps=10)).bind(model, optimizer=opt)
    for _ in range(10):
        before = copy.deepcopy(model.state_dict())
        engine.backward(goal_of(model, *rows(model)))
        assert_same(model.state_dict(), before)
        opt.step(), opt.zero_grad()


@every_method
def test_weights_stay_where_they_are_in_memory(name):
    model = net()
    homes = [(p, p.data_ptr()) for p in model.parameters()]
    engine = load("methods", name)().bind(model, optimizer=momentum(model))
    for x, y in batches(2):
        engine.backward(goal_of(model, x, y))
    assert all(p is q and q.data_ptr() == at for (p, at), q in zip(homes, model.parameters(), strict=True))


class Branches(nn.Module):
    """Passes go by turns through one branch or another."""

    def __init__(self, order):
        super().__init__()
        self.order, self.turn = order, 0
        self.trunk, self.norm = nn.Linear(4, 4), nn.LayerNorm(4)
        self.left, self.right = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        branch = self.order[min(self.turn, len(self.order) - 1)]
        self.turn += torch.is_grad_enabled()
        return getattr(self, branch)(self.norm(torch.tanh(self.trunk(x))))


def branches(order):
    torch.manual_seed(0)
    return Branches(order).double()


@pytest.mark.parametrize("order", [("left", "right"), ("right", "left", "right", "left")])
@every_method
def test_a_gradient_missing_in_some_passes_leaves_no_weight_perturbed(name, order):
    model = branches(order)
    opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    engine = load("methods", name)().bind(model, optimizer=opt)
    goal = goal_of(model, torch.ones(6, 4).double(), torch.arange(6) % 3)
    for _ in range(3):
        model.turn, before = 0, copy.deepcopy(model.state_dict())
        engine.backward(goal)
        assert_same(model.state_dict(), before)
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
        opt.step(), opt.zero_grad()


def test_a_gradient_missing_in_the_last_pass_is_not_left_over_from_the_first():
    model = branches(("left", "right"))
    lowland.SAM().bind(model).backward(goal_of(model, torch.ones(6, 4).double(), torch.arange(6) % 3))
    assert model.left.weight.grad is None
    assert model.right.weight.grad is not None


def test_a_descent_beside_the_optimiser_outlives_a_gradient_missing_in_the_first_pass():
    torch.manual_seed(0)
    model = nn.ParameterDict({"both": torch.randn(3).double(), "late": torch.randn(1).double()})
    opt, passes = torch.optim.SGD(model.parameters(), lr=0.1), []
    engine = lowland.WSAM(rho=0.1, gamma=0.5).bind(model, optimizer=opt)

    def closure():
        passes.append(1)
        return model["both"].pow(2).sum() + (model["late"].sum() if len(passes) % 2 == 0 else 0.0)

    before = model["late"].item()
    engine.backward(closure), engine.backward(closure)
    opt.step()
    assert model["late"].item() == pytest.approx(before - 0.1 * 2)


def test_a_descent_beside_the_optimiser_outlives_clipping_between_micro_batches():
    ends = []
    for clip in (False, True):
        model = linear()
        opt = torch.optim.SGD(model.parameters(), lr=0.1)
        engine = lowland.WSAM(rho=0.1, gamma=0.9).bind(model, optimizer=opt)
        for _ in range(2):
            engine.backward(goal_of(model, *rows(model)))
            if clip:
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9)
        opt.step()
        ends.append(model.state_dict())
    torch.testing.assert_close(*ends, rtol=1e-9, atol=1e-12)


# Batch norm and dropout.


@every_method
def test_cumulative_batch_norm_counts_once(name):
    models = [net(), net()]
    for model, method in zip(models, (name, "sgd"), strict=True):
        model.norm.momentum = None
        directions(load("methods", method)(), model)
    left, right = (model.state_dict() for model in models)
    assert left["norm.num_batches_tracked"] == 3
    if load("methods", name).CLEAN:
        assert_same(left, right)


@every_method
def test_batch_norm_keeps_its_momentum_and_its_mode_also_when_a_pass_fails(name):
    model, calls = net(), []
    engine = load("methods", name)().bind(model, optimizer=momentum(model))

    def failing(outputs, y):
        calls.append(1)
        if len(calls) == int(engine.method.passes):
            raise RuntimeError("stop")
        return nn.functional.cross_entropy(outputs, y)

    (x, y), loss = next(batches(1)), nn.functional.cross_entropy
    with pytest.raises(RuntimeError, match="stop"):
        engine.backward(lowland.objective(model, failing, x, y, each=lambda o, y: loss(o, y, reduction="none")))
    engine.backward(goal_of(model, x, y))
    assert (model.norm.momentum, model.norm.training, model.norm.track_running_stats) == (0.1, True, True)
    assert model.norm.num_batches_tracked == 1


def test_every_example_counts_once_where_shards_ascend_by_themselves():
    model = net()
    model.norm.momentum = None
    directions(lowland.MSAM(m=4), model, count=1)
    assert model.norm.num_batches_tracked == 2
    whole = net().conv(next(batches(1))[0])
    halves = torch.stack([half.mean((0, 2, 3)) for half in whole.split(4)])
    torch.testing.assert_close(model.norm.running_mean, halves.mean(0))


class Masked(nn.Module):
    """Keeps the dropout mask of every pass."""

    def __init__(self):
        super().__init__()
        self.norm, self.drop, self.head, self.masks = nn.LayerNorm(4), nn.Dropout(0.5), nn.Linear(4, 2), []

    def forward(self, x):
        self.masks.append(self.drop(torch.ones_like(x)))
        return self.head(self.norm(x) * self.masks[-1])


@every_method
def test_passes_over_the_whole_batch_share_the_dropout_masks(name):
    model = Masked().double()
    engine = load("methods", name)().bind(model, optimizer=momentum(model))
    engine.backward(goal_of(model, *rows(linear())))
    first, *others = [mask for mask in model.masks if len(mask) == 6]
    for other in others:
        assert_same(other, first)


# Cost.


@pytest.mark.parametrize("rate", [{"lr": 0.1}, {"lr": 0.1, "momentum": 0.9}])
def test_look_sam_really_takes_one_pass_and_a_tenth(rate):
    model = linear()
    opt = torch.optim.SGD(model.parameters(), **rate)
    engine, passes = lowland.LookSAM(k=10).bind(model, optimizer=opt), outputs_of(model)
    for _ in range(20):
        engine.backward(goal_of(model, *rows(model)))
        opt.step(), opt.zero_grad()
    assert len(passes) == engine.passes == 22


def test_look_sam_does_not_double_the_gradient():
    model, plain = net(), net()
    reused = directions(lowland.LookSAM(k=3, alpha=0.0), model)
    expected = directions(lowland.SGD(), plain)
    assert_same(reused[1:], expected[1:])


@pytest.mark.parametrize("start", [0, 1])
def test_what_is_renewed_every_k_steps_is_so_inside_another_method_too(start):
    model = linear()
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    engine = lowland.Every(method=lowland.LookSAM(k=2), k=2, start=start).bind(model, optimizer=opt)
    for _ in range(40):
        engine.backward(goal_of(model, *rows(model)))
        opt.step(), opt.zero_grad()
    assert engine.passes == 40 * engine.method.passes


@pytest.mark.parametrize("gamma", [0.25, 0.5, 0.9])
def test_esam_differentiates_only_what_it_selects(gamma):
    model = linear()
    passes = outputs_of(model)
    lowland.ESAM(gamma=gamma).bind(model).backward(goal_of(model, *rows(model, 8)))
    assert [len(o) for o in passes] == [8, -(-gamma * 8 // 1)]


# Which examples, which weights.


def alike():
    """A model that gives every example the same loss, whatever its weights."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 2)).double(), torch.ones(6, 4).double()


@pytest.mark.parametrize("n", [1, 2, 6])
@pytest.mark.parametrize(
    "method", [lowland.ESAM(gamma=0.1), lowland.KSAM(share=0.1), lowland.ESAM(), lowland.KSAM()]
)
def test_selection_is_never_empty_where_losses_tie(method, n):
    model, x = alike()
    method.bind(model).backward(goal_of(model, x[:n], torch.zeros(n, dtype=torch.long)))
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert sum(p.grad.abs().sum() for p in model.parameters()) > 0


def test_a_mask_keeps_its_share_where_scores_tie():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(8).double())

        def forward(self, x):
            return x * self.w.sum()

    model, x = Sum(), torch.ones(4, 1).double()
    engine = lowland.SparseSAM(s=0.5).bind(model)
    engine.backward(lowland.objective(model, nn.functional.mse_loss, x, 0 * x))
    assert engine.state_dict()["memory"]["mask"]["w"].sum() == 4


def test_a_mask_is_found_for_micro_batches_of_different_sizes():
    model, (x, y) = linear(), rows(linear())
    engine = lowland.SparseSAM(samples=4).bind(model)
    engine.backward_many([goal_of(model, x[:4], y[:4]), goal_of(model, x[4:], y[4:])])
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", ["esam", "k_sam", "sparse_sam", "msam"])
def test_batch_norm_never_sees_a_selection(name):
    ours, plain = net(), net()
    directions(load("methods", name)(), ours, count=1)
    directions(lowland.SGD(), plain, count=1)
    assert_same(ours.state_dict(), plain.state_dict())


def test_the_tail_is_weighted_only_as_asked():
    found = [directions(m, net(), 1)[0] for m in (lowland.SGD(), lowland.ImbSAM(rho=0.0, tail=(0, 2)))]
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)
    tail, double = (
        directions(lowland.ImbSAM(rho=0.0, tail=(0, 1, 2), tail_weight=k), net(), 1)[0] for k in (1, 2)
    )
    torch.testing.assert_close(Vector(double).parts, (2.0 * Vector(tail)).parts, rtol=1e-9, atol=1e-12)


def test_normalisation_is_told_by_kind_and_not_by_name():
    torch.manual_seed(0)
    model = nn.ModuleDict({"norm_bn": nn.Linear(4, 3), "scale": nn.LayerNorm(3), "head": nn.Linear(3, 2)}).double()
    start, last = copy.deepcopy(model.state_dict()), []

    def closure():
        last.append({n: (p - start[n]).norm().item() for n, p in model.named_parameters()})
        return model["head"](model["scale"](model["norm_bn"](torch.randn(5, 4).double()))).pow(2).mean()

    lowland.SAMON(rho=0.5).bind(model).backward(closure)
    assert {n for n, moved in last[-1].items() if moved} == {"scale.weight", "scale.bias"}


@pytest.mark.parametrize(
    ("method", "moves"), [(lowland.ASAM.as_published(eta=0.0), True), (lowland.ASAM.as_davda(), False)]
)
def test_a_bias_of_zero_moves_as_published_and_stays_as_davda_has_it(method, moves):
    model, bias = linear(), []
    nn.init.zeros_(model[2].bias)
    model[2].register_forward_hook(lambda m, x, o: bias.append(m.bias.detach().clone()))
    method.bind(model).backward(goal_of(model, *rows(model)))
    assert [bool(b.any()) for b in bias] == [False, moves]


# Gradients, their means and their sizes.


@pytest.mark.parametrize(
    ("name", "key", "new"), [("f_sam", "m", 0.1), ("vasso", "s", 0.9), ("stale_sam", "g", 1.0)]
)
def test_the_mean_of_gradients_is_fed_the_raw_gradient(name, key, new):
    raw, model = [Vector(g) for g in directions(lowland.SGD(), net())], net()
    engine = load("methods", name)().bind(model)
    mean = Vector() if name == "f_sam" else raw[0]
    torch.manual_seed(3)
    for (x, y), g in zip(batches(3), raw, strict=True):
        engine.backward(goal_of(model, x, y))
        mean = (1 - new) * mean + new * g
    torch.testing.assert_close(engine.state_dict()["memory"][key], mean.parts, rtol=1e-9, atol=1e-12)


def test_friendly_sam_subtracts_the_mean_in_the_first_step_too():
    assert_same(directions(lowland.FSAM(sigma=1.0, lam=0.0), net(), 1), directions(lowland.SGD(), net(), 1))


@pytest.mark.parametrize("factor", [0.25, 2.0**10])
@every_method
def test_a_loss_some_times_as_large_gives_a_direction_as_many_times_as_large(name, factor):
    """No unit gradients mixed with others, no clipping, no normalising that depends on the step."""
    if name in GROWING:
        pytest.skip("perturbs farther where the gradient is larger")
    once = directions(load("methods", name)(), net())
    times = directions(load("methods", name)(), net(), factor=factor)
    for one, other in zip(once, times, strict=True):
        torch.testing.assert_close({n: g * factor for n, g in one.items()}, other, rtol=1e-9, atol=1e-12 * factor)


@pytest.mark.parametrize("factor", [1.0, 1000.0])
def test_eigen_sam_is_normalised_from_the_first_step(factor):
    model = linear()
    start, moved = copy.deepcopy(model.state_dict()), []
    model.register_forward_hook(
        lambda m, x, o: moved.append(
            sum((p - start[n]).pow(2).sum() for n, p in m.named_parameters()).sqrt().item()
        )
    )
    lowland.EigenSAM(rho=0.1, alpha=0.5).bind(model).backward(goal_of(model, *rows(model), factor))
    assert 0.1 <= moved[-1] * (1 + 1e-9) <= 0.1 * 1.25**0.5 * (1 + 2e-9)


@every_method
def test_weight_decay_is_the_optimisers_own(name):
    method = load("methods", name)()
    assert_same(directions(method, net(), 1, weight_decay=0.0), directions(method, net(), 1, weight_decay=0.5))


def test_weight_decay_acts_at_the_clean_weights():
    model, decayed = linear(), linear()
    goals = [goal_of(each, *rows(each)) for each in (model, decayed)]
    for each, goal in zip((model, decayed), goals, strict=True):
        lowland.RandomPerturbation(rho=1.0).bind(each).backward(goal)
    before = copy.deepcopy(model)
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    torch.optim.SGD(decayed.parameters(), lr=0.1, weight_decay=0.5).step()
    for p, q, w in zip(model.parameters(), decayed.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(p - q, 0.1 * 0.5 * w, rtol=1e-9, atol=1e-12)


# Loss scaling and checkpoints.


def scaled_run(name, scales):
    """All of a net after some steps, each under a loss scale of its own; None is no scaler."""
    model = net()
    opt = momentum(model)
    engine = load("methods", name)().bind(model, optimizer=opt)
    torch.manual_seed(3)
    for (x, y), scale in zip(batches(len(scales)), scales, strict=True):
        scaler = None if scale is None else torch.amp.GradScaler("cpu", init_scale=scale)
        engine.backward(goal_of(model, x, y), scaler=scaler)
        opt.step() if scaler is None else scaler.step(opt)
        opt.zero_grad()
    return everything(model)


@every_method
def test_a_change_of_loss_scale_between_steps_changes_nothing(name):
    plain = scaled_run(name, [None] * 6)
    for scales in ([2.0**3, 2.0**12, 1.0, 2.0**-4, 2.0**16, 2.0], [None, 2.0**10, None, 2.0**4, None, 2.0**15]):
        torch.testing.assert_close(scaled_run(name, scales), plain, rtol=1e-12, atol=1e-15)


def test_ae_sam_decides_alike_at_any_loss_scale():
    passes = []
    for scale in (1.0, 2.0**30):
        model = linear(torch.float32)
        engine, scaler = lowland.AESAM(c=0.0).bind(model), torch.amp.GradScaler("cpu", init_scale=scale)
        for factor in range(1, 6):
            engine.backward(goal_of(model, *rows(model), 30.0 * factor), scaler=scaler)
        passes.append(engine.passes)
    assert passes == [10, 10]


@every_method
def test_one_unscale_a_step_suffices_to_clip(name):
    ends = []
    for scaler in (torch.amp.GradScaler("cpu", enabled=False), torch.amp.GradScaler("cpu", init_scale=2.0**8)):
        model = net()
        opt = momentum(model)
        engine = load("methods", name)().bind(model, optimizer=opt)
        for x, y in batches(4):
            for half in (slice(0, 4), slice(4, 8)):
                engine.backward(goal_of(model, x[half], y[half], 0.5), scaler=scaler)
            scaler.unscale_(opt)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.01)
            scaler.step(opt), scaler.update(), opt.zero_grad()
        ends.append(model.state_dict())
    torch.testing.assert_close(*ends, rtol=1e-9, atol=1e-12)


@every_method
def test_the_momentum_is_in_the_optimisers_checkpoint_and_the_weights_in_no_other(name):
    model = net()
    opt = momentum(model)
    engine = load("methods", name)().bind(model, optimizer=opt)
    engine.backward(goal_of(model, *next(batches(1))))
    opt.step()
    moved = [p for p in model.parameters() if p.grad is not None]
    held = [state["momentum_buffer"] for state in opt.state_dict()["state"].values() if "momentum_buffer" in state]
    assert len([buffer for buffer in held if buffer is not None]) == len(moved)
    kept = sum(t.numel() for t in torch.utils._pytree.tree_leaves(engine.state_dict()["memory"]))
    assert kept <= load("methods", name).KEEPS * sum(p.numel() for p in moved) + 2
