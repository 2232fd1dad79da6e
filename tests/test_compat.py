"""The optimiser-shaped SAM is lowland's SAM, and keeps the promises that its ancestors break."""

import copy
import os
import pickle
import signal

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import distribute_tensor
from torch.utils._python_dispatch import TorchDispatchMode

import lowland
from ledger import Ledger
from lowland.compat import SAM
from rigs import assert_same

BASES = {
    "sgd": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    "adamw": (torch.optim.AdamW, {"lr": 0.02}),
}


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()


def losses(model, count=20):
    """Loss functions of as many batches."""
    draw = torch.Generator().manual_seed(4)
    for _ in range(count):
        x = torch.randn(12, 5, generator=draw, dtype=torch.float64)
        y = torch.randint(3, (12,), generator=draw)
        yield lambda x=x, y=y: nn.functional.cross_entropy(model(x), y)


def calling_backward(loss):
    def closure():
        value = loss()
        value.backward()
        return value

    return closure


def by_hand(optimizer, loss):
    loss().backward()
    optimizer.first_step(zero_grad=True)
    loss().backward()
    optimizer.second_step(zero_grad=True)


def backward_first(optimizer, loss):
    loss().backward()
    return optimizer.step(calling_backward(loss))


def closure_alone(optimizer, loss):
    return optimizer.step(calling_backward(loss))


WAYS = [by_hand, backward_first, closure_alone]


def trained(optimizer, model, way=by_hand, count=20):
    for loss in losses(model, count):
        way(optimizer, loss)
    return [p.detach().clone() for p in model.parameters()]


def momentum(model, **how):
    return SAM(model.parameters(), torch.optim.SGD, lr=0.1, momentum=0.9, **how)


def parameters(*values):
    return [nn.Parameter(torch.tensor([value], dtype=torch.float64)) for value in values]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(
    ("how", "method"),
    [
        ({"rho": 0.1}, lowland.SAM(rho=0.1)),
        ({"rho": 2.0, "adaptive": True}, lowland.ASAM.as_davda(rho=2.0)),
        ({"rho": 0.5, "adaptive": True, "eta": 0.01}, lowland.ASAM(rho=0.5, eta=0.01, scale_all=True)),
    ],
)
def test_is_lowlands_method_bit_for_bit(how, method, base, way):
    make, settings = BASES[base]
    ours, theirs = mlp(), mlp()
    engine, optimizer = method.bind(theirs), make(theirs.parameters(), **settings)
    for loss in losses(theirs):
        engine.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
    assert_same(trained(SAM(ours.parameters(), make, **settings, **how), ours, way), list(theirs.parameters()))


@pytest.mark.parametrize(("way", "calls"), [(backward_first, 1), (closure_alone, 2)])
def test_the_closure_is_called_once_after_a_backward_and_else_twice(way, calls):
    model, seen = mlp(), []
    optimizer = momentum(model)
    for loss in losses(model, 3):
        way(optimizer, lambda loss=loss: seen.append(1) or loss())
    assert len(seen) == 6  # with the loss of the backward before
    assert all(p.grad is None for p in model.parameters())


def test_a_closure_may_clear_gradients_itself():
    model, other = mlp(), mlp()
    optimizer = momentum(model)

    def clearing(optimizer, loss):
        optimizer.step(lambda: optimizer.zero_grad(set_to_none=False) or calling_backward(loss)())

    assert_same(trained(optimizer, model, clearing), trained(momentum(other), other))


def test_returns_the_clean_loss_if_the_closure_computed_it():
    model = mlp()
    optimizer, loss = momentum(model, rho=0.5), next(losses(model))
    clean = loss().item()
    assert closure_alone(optimizer, loss).item() == clean


def test_returns_the_perturbed_loss_if_the_clean_one_was_computed_before():
    model, other = mlp(), mlp()
    optimizer, loss = momentum(other, rho=0.5), next(losses(other))
    loss().backward()
    optimizer.first_step()
    perturbed = loss().item()
    assert backward_first(momentum(model, rho=0.5), next(losses(model))).item() == perturbed


def test_accumulated_gradients_are_the_first_pass():
    model, other = mlp(), mlp()
    optimizer, whole = momentum(model), momentum(other)
    parts, alike = list(losses(model, 2)), list(losses(other, 2))
    for loss in parts:
        loss().backward()
    optimizer.step(lambda: [calling_backward(loss)() for loss in parts])
    backward_first(whole, lambda: alike[0]() + alike[1]())
    torch.testing.assert_close(list(model.parameters()), list(other.parameters()))


@pytest.mark.parametrize(("first", "second", "value"), [(1, 0, 1.0), (0, 1, 0.9), (1, 1, 0.9), (0, 0, 1.0)])
def test_only_gradients_of_the_second_pass_are_stepped(first, second, value):
    p, always = parameters(1.0, 2.0)
    optimizer = SAM([p, always], torch.optim.SGD, rho=0.1, lr=0.1)
    (always + first * p if first else always).sum().backward()
    optimizer.first_step(zero_grad=True)
    (always + second * p if second else always).sum().backward()
    optimizer.second_step(zero_grad=True)
    assert (p.item(), always.item()) == (value, 1.9)


@pytest.mark.parametrize("bad", [0.0, float("inf"), float("nan")])
def test_a_first_gradient_without_direction_moves_nothing(bad):
    p, q = parameters(1.0, 2.0)
    optimizer = SAM([p, q], torch.optim.SGD, rho=0.1, lr=0.1)
    p.grad, q.grad = torch.full_like(p, bad), torch.zeros_like(q)
    optimizer.first_step(zero_grad=True)
    assert (p.item(), q.item()) == (1.0, 2.0)
    (p + q).sum().backward()
    optimizer.second_step()
    assert (p.item(), q.item()) == (0.9, 1.9)


def test_groups_have_radii_of_their_own_and_one_norm():
    p, q = parameters(1.0, 2.0)
    optimizer = SAM([{"params": p, "rho": 0.5}, {"params": q}], torch.optim.SGD, rho=0.1, lr=0.1)
    p.grad, q.grad = torch.full_like(p, 3.0), torch.full_like(q, 4.0)
    optimizer.first_step()
    torch.testing.assert_close([p.item(), q.item()], [1 + 0.5 * 3 / 5, 2 + 0.1 * 4 / 5])


def test_groups_may_be_adaptive_on_their_own():
    p, q = parameters(-2.0, 5.0)
    optimizer = SAM([{"params": p, "adaptive": True}, {"params": q}], torch.optim.SGD, rho=0.5, lr=0.1)
    p.grad, q.grad = torch.full_like(p, 1.5), torch.full_like(q, 4.0)
    optimizer.first_step()
    torch.testing.assert_close([p.item(), q.item()], [-2 + 0.5 * 4 * 1.5 / 5, 5 + 0.5 * 4 / 5])


def test_a_radius_of_zero_is_the_base_optimiser():
    model, other = mlp(), mlp()
    base = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9)
    for loss in losses(other):
        base.step(calling_backward(loss))
        base.zero_grad()
    assert_same(trained(momentum(model, rho=0.0), model), list(other.parameters()))


def test_restore_takes_a_first_step_back_bit_for_bit():
    model = mlp()
    optimizer, before = momentum(model, rho=1.0), copy.deepcopy(model.state_dict())
    next(losses(model))().backward()
    optimizer.first_step()
    assert not torch.equal(model[0].weight, before["0.weight"])
    optimizer.restore(), optimizer.restore()
    assert_same(model.state_dict(), before)


def test_weights_that_a_pass_gave_another_place_come_back():
    model = mlp()
    optimizer, before = momentum(model), copy.deepcopy(model.state_dict())
    next(losses(model))().backward()
    optimizer.first_step()
    model[0].weight.data = model[0].weight.data.clone()
    optimizer.restore()
    assert_same(model.state_dict(), before)


def stop():
    raise RuntimeError("stop")


def press_ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("way", [backward_first, closure_alone])
@pytest.mark.parametrize(("break_off", "error"), [(stop, RuntimeError), (press_ctrl_c, KeyboardInterrupt)])
def test_a_second_pass_that_raises_leaves_the_weights_in_place(break_off, error, way):
    model, calls = mlp(), []
    optimizer, before, real = momentum(model), copy.deepcopy(model.state_dict()), next(losses(model))

    def loss():
        calls.append(1)
        if len(calls) == 2:
            real().backward()
            break_off()
        return real()

    with pytest.raises(error):
        way(optimizer, loss)
    assert_same(model.state_dict(), before)
    assert all(p.grad is None for p in model.parameters())
    trained(optimizer, model)


class Exhausted(TorchDispatchMode):
    """Raises once weights were moved."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket is torch.ops.aten._foreach_addcmul_:
            raise MemoryError("no memory")
        return result


def test_a_first_step_that_runs_out_of_memory_leaves_the_weights_in_place():
    model = mlp()
    optimizer, before = momentum(model), copy.deepcopy(model.state_dict())
    next(losses(model))().backward()
    with pytest.raises(MemoryError, match="no memory"), Exhausted():
        optimizer.first_step()
    assert_same(model.state_dict(), before)


def test_weights_cast_before_the_step_are_cast_again_under_autocast():
    inside, outside = mlp().float(), mlp().float()
    x = torch.randn(5, 5)

    def loss(model):
        with torch.autocast("cpu", torch.bfloat16):
            return model(x).float().pow(2).mean()

    first, second = momentum(outside, rho=1.0), momentum(inside, rho=1.0)
    for _ in range(2):
        by_hand(first, lambda: loss(outside))
    with torch.autocast("cpu", torch.bfloat16):
        for _ in range(2):
            by_hand(second, lambda: loss(inside))
    assert_same(list(inside.parameters()), list(outside.parameters()))


def cost(make, model):
    """Peak bytes of a step, and those still held after it, in units of the weights."""
    optimizer, x = make(model.parameters(), lr=0.1), torch.randn(2, 2048)
    with Ledger() as ledger:
        optimizer.step(calling_backward(lambda: model(x).pow(2).mean()))
        optimizer.zero_grad()
    return torch.tensor([ledger.peak, ledger.held]) / (4 * 2048 * 4096)


def test_holds_one_copy_of_the_weights_within_a_step_and_none_after_it():
    model = nn.Linear(2048, 4096, bias=False)  # large enough to be moved in small pieces
    sam = cost(lambda p, lr: SAM(p, torch.optim.SGD, lr=lr), model)
    peak, held = (sam - cost(torch.optim.SGD, model)).tolist()
    assert peak <= 1.02
    assert held < 0.001


@pytest.mark.parametrize("base", BASES)
def test_resumes_exactly(base):
    make, settings = BASES[base]
    whole, first, second = mlp(), mlp(), mlp()
    expected = trained(SAM(whole.parameters(), make, **settings), whole, count=8)
    early, late = (SAM(model.parameters(), make, **settings) for model in (first, second))
    for number, (one, two) in enumerate(zip(losses(first, 8), losses(second, 8), strict=True)):
        if number == 4:
            second.load_state_dict(first.state_dict())
            late.load_state_dict(copy.deepcopy(early.state_dict()))
            assert_same(list(late.state.values()), list(early.state.values()))
        by_hand(*((early, one) if number < 4 else (late, two)))
    assert_same(list(second.parameters()), expected)


def test_loads_and_is_loaded_by_the_bare_base_optimiser():
    model = mlp()
    base, optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), momentum(model, rho=0.3)
    base.step(calling_backward(next(losses(model))))
    optimizer.load_state_dict(base.state_dict())
    assert optimizer.param_groups[0]["rho"] == 0.3
    assert_same(list(optimizer.state.values()), list(base.state.values()))
    trained(optimizer, model)
    base.load_state_dict(optimizer.state_dict())
    assert_same(list(base.state.values()), list(optimizer.state.values()))


def test_groups_stay_shared_when_the_base_optimiser_loads_by_itself():
    model = mlp()
    optimizer = momentum(model)
    optimizer.base_optimizer.load_state_dict(torch.optim.SGD(model.parameters(), lr=0.7).state_dict())
    assert optimizer.param_groups is optimizer.base_optimizer.param_groups
    assert optimizer.param_groups[0]["lr"] == 0.7
    optimizer.load_state_dict(optimizer.state_dict())
    assert optimizer.param_groups[0]["rho"] == 0.05
    trained(optimizer, model, count=2)


@pytest.mark.parametrize("key", ["old_p", "e_w"])
def test_weights_in_a_foreign_checkpoint_are_dropped(key):
    model = mlp()
    optimizer = SAM(model.parameters(), torch.optim.AdamW, lr=0.1)
    state = optimizer.state_dict()
    state["state"] = {place: {key: p.detach().clone()} for place, p in enumerate(model.parameters())}
    optimizer.load_state_dict(state)
    trained(optimizer, model, count=2)
    assert all(key not in entry for entry in optimizer.state.values())


def test_checkpoints_never_hold_weights():
    model = mlp()
    optimizer = SAM(model.parameters(), torch.optim.SGD, lr=0.1)
    next(losses(model))().backward()
    optimizer.first_step()
    assert optimizer.state_dict()["state"] == {}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("owner", ["itself", "base"])
def test_schedules_attach_to_either_without_warning(owner, way):
    model = mlp()
    optimizer = momentum(model)
    target = optimizer if owner == "itself" else optimizer.base_optimizer
    schedule = torch.optim.lr_scheduler.StepLR(target, 1, gamma=0.5)
    for loss in losses(model, 2):
        way(optimizer, loss)
        schedule.step()
    assert optimizer.param_groups[0]["lr"] == optimizer.base_optimizer.param_groups[0]["lr"] == 0.025


def test_added_groups_are_trained_with_the_default_radius():
    p, q = parameters(1.0, 2.0)
    optimizer = SAM([p], torch.optim.SGD, rho=0.2, lr=0.1)
    optimizer.add_param_group({"params": q, "lr": 0.5})
    by_hand(optimizer, lambda: (p + q).sum())
    assert (p.item(), q.item()) == (0.9, 1.5)
    assert [group["rho"] for group in optimizer.param_groups] == [0.2, 0.2]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))])
def test_copies_go_on_alike(duplicate):
    model = mlp()
    optimizer = momentum(model)
    trained(optimizer, model, count=3)
    twin, other = duplicate((model, optimizer))
    assert_same(trained(other, twin), trained(optimizer, model))


def test_says_what_it_is():
    optimizer = SAM(parameters(1.0), torch.optim.SGD, rho=0.2, lr=0.5)
    assert repr(optimizer).startswith("SAM of SGD (")
    assert "rho: 0.2" in repr(optimizer)
    assert (optimizer.defaults["rho"], optimizer.defaults["lr"]) == (0.2, 0.5)
    assert isinstance(optimizer, torch.optim.Optimizer)


def scaled_step(optimizer, loss, scaler):
    scaler.scale(loss()).backward()
    optimizer.first_step(zero_grad=True)
    scaler.scale(loss()).backward()
    optimizer.restore()
    scaler.unscale_(optimizer.base_optimizer)
    nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 1e6)
    scaler.step(optimizer.base_optimizer)
    scaler.update()
    optimizer.zero_grad()


def test_steps_under_a_scaler_as_without():
    model, other, scaler = mlp().float(), mlp().float(), torch.amp.GradScaler("cpu", init_scale=2.0**10)
    optimizer, plain, x = momentum(model), momentum(other), torch.randn(5, 5)
    for _ in range(5):
        scaled_step(optimizer, lambda: model(x).pow(2).mean(), scaler)
        by_hand(plain, lambda: other(x).pow(2).mean())
    torch.testing.assert_close(list(model.parameters()), list(other.parameters()))


def test_a_scaler_skips_a_step_that_overflows():
    model, scaler = mlp().float(), torch.amp.GradScaler("cpu", init_scale=2.0**10)
    before = copy.deepcopy(model.state_dict())
    scaled_step(momentum(model), lambda: model(torch.ones(2, 5)).sum() * float("inf"), scaler)
    assert_same(model.state_dict(), before)
    assert scaler.get_scale() == 2.0**9


@pytest.mark.parametrize("way", ["closure", "bare"])
def test_refuses_to_be_stepped_by_a_scaler(way):
    model, scaler = mlp().float(), torch.amp.GradScaler("cpu")
    optimizer, before = momentum(model), copy.deepcopy(model.state_dict())
    loss = lambda: model(torch.ones(2, 5)).pow(2).mean()  # noqa: E731
    closure = calling_backward(lambda: scaler.scale(loss()))
    closure()
    with pytest.raises(
        RuntimeError, match=r"must step the base optimiser, got SAM.*call restore\(\) and scaler.step"
    ):
        scaler.step(optimizer, *([closure] if way == "closure" else []))
    assert_same(model.state_dict(), before)
    backward_first(optimizer, loss)  # unscaled steps are as before


def test_a_scaler_that_is_off_is_no_scaler():
    model, other = mlp(), mlp()
    optimizer, scaler = momentum(model), torch.amp.GradScaler("cpu", enabled=False)
    for loss in losses(model):
        scaler.step(optimizer, calling_backward(loss))
    assert_same(list(model.parameters()), trained(momentum(other), other))


def test_refuses_a_step_without_closure():
    with pytest.raises(
        TypeError, match=r"step must be given a closure .* got none: pass one, or call first_step\(\)"
    ):
        momentum(mlp()).step()


@pytest.mark.parametrize("way", [backward_first, closure_alone])
def test_refuses_a_closure_without_backward(way):
    model = mlp()
    optimizer, before, loss = momentum(model), copy.deepcopy(model.state_dict()), next(losses(model))
    if way is backward_first:
        loss().backward()
    with pytest.raises(
        RuntimeError, match=r"closure must call backward, got no gradients: write loss.backward\(\)"
    ):
        optimizer.step(loss)
    assert_same(model.state_dict(), before)


def test_refuses_steps_out_of_order():
    optimizer = momentum(mlp())
    with pytest.raises(RuntimeError, match=r"second_step must come after first_step, got none: call first_step"):
        optimizer.second_step()
    with pytest.raises(RuntimeError, match="first_step must come after a backward, got no gradients: call loss"):
        optimizer.first_step()


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("first_step", SAM.first_step),
        ("step", lambda optimizer: optimizer.step(stop)),
        ("load_state_dict", lambda optimizer: optimizer.load_state_dict(optimizer.state_dict())),
        ("A copy", copy.deepcopy),
    ],
)
def test_refuses_whatever_must_not_come_between_the_steps(name, call):
    model = mlp()
    optimizer = momentum(model)
    next(losses(model))().backward()
    optimizer.first_step()
    words = (
        rf"^{name} must not come between first_step and second_step, .* second_step\(\), or restore\(\) to take"
    )
    with pytest.raises(RuntimeError, match=words):
        call(optimizer)


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"rho": -0.1}, ValueError, "rho must be a finite number >= 0, got -0.1"),
        ({"rho": "big"}, TypeError, "rho must be a number, got 'big'"),
        ({"eta": -1.0}, ValueError, "eta must be a finite number >= 0, got -1"),
        ({"maximize": True}, ValueError, "maximize must be False, got True: minimise the negative instead"),
    ],
)
def test_refuses_wrong_settings(how, error, words):
    with pytest.raises(error, match=words):
        momentum(mlp(), **how)


def test_refuses_a_wrong_radius_of_a_group():
    (p,) = parameters(1.0)
    with pytest.raises(ValueError, match="rho must be a finite number >= 0, got -2"):
        SAM([{"params": p, "rho": -2.0}], torch.optim.SGD, lr=0.1)
    optimizer = SAM([p], torch.optim.SGD, lr=0.1)
    optimizer.param_groups[0]["rho"] = -3.0
    p.sum().backward()
    with pytest.raises(ValueError, match="rho must be a finite number >= 0, got -3"):
        optimizer.first_step()


def test_refuses_an_optimiser_in_place_of_its_class():
    base = torch.optim.SGD(parameters(1.0), lr=0.1)
    with pytest.raises(
        TypeError, match=r"must be a class such as torch.optim.SGD, got an object of SGD: pass the class"
    ):
        SAM(parameters(1.0), base)


def test_refuses_sparse_and_complex_gradients():
    table = nn.Embedding(3, 2, sparse=True)
    optimizer = SAM(table.parameters(), torch.optim.SGD, lr=0.1)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(TypeError, match="Gradients must be dense, got a sparse one: make it with sparse=False"):
        optimizer.first_step()
    p = nn.Parameter(torch.ones(1, dtype=torch.complex64))
    p.abs().sum().backward()
    with pytest.raises(TypeError, match="Parameters must be real, got a complex one"):
        SAM([p], torch.optim.SGD, lr=0.1).first_step()


def test_refuses_sharded_parameters():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        p = nn.Parameter(distribute_tensor(torch.ones(2), mesh))
        p.grad = torch.ones_like(p)
        with pytest.raises(
            NotImplementedError, match="must be whole, got one that is sharded over processes: use low"
        ):
            SAM([p], torch.optim.SGD, lr=0.1).first_step()
    finally:
        dist.destroy_process_group()
