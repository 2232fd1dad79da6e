"""What every penalty must obey, without naming one: arguments are told by their names."""

import copy
import dataclasses
import gc
import inspect
import pickle
import weakref

import pytest
import torch
from torch import nn

import lowland
from lowland.catalog import build, load, names
from rigs import assert_same, everything

EXAMPLES, BATCH = 16, 8

pytestmark = pytest.mark.parametrize("name", names("penalties"))


class Net(nn.Module):
    """Batch norm, dropout, a frozen layer and a low-rank adapter."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(6, 8, bias=False)
        self.norm, self.drop = nn.BatchNorm1d(8), nn.Dropout(0.3)
        self.frozen = nn.Linear(8, 8).requires_grad_(False)
        self.lora_A, self.lora_B = nn.Linear(8, 2, bias=False), nn.Linear(2, 8, bias=False)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        h = torch.relu(self.norm(self.body(x)))
        return self.head(self.drop(self.frozen(h) + self.lora_B(self.lora_A(h))))


class Run:
    """A training run with a penalty bound and a method's engine beside it."""

    def __init__(self, penalty, method=None, fused=False):
        torch.manual_seed(1)
        self.model = Net().double()
        adam = {"lr": 0.02, "fused": True} if fused else {"lr": 0.02}
        self.optimizer = torch.optim.AdamW([p for p in self.model.parameters() if p.requires_grad], **adam)
        self.engine = (method or lowland.SGD()).bind(self.model)
        self.bound = penalty and given(penalty.bind, model=self.model, optimizer=self.optimizer, examples=EXAMPLES)
        self.scaler = torch.amp.GradScaler("cpu", enabled=False)
        draw = torch.Generator().manual_seed(2)
        self.x = torch.randn(EXAMPLES, 6, generator=draw, dtype=torch.float64)
        self.y = torch.randint(3, (EXAMPLES,), generator=draw)
        torch.manual_seed(3)

    def loss(self, rows, factor=1.0):
        x, y = self.x[rows], self.y[rows]
        outputs = self.model(x)
        loss = nn.functional.cross_entropy(outputs, y)
        return factor * (loss + self.term(loss, outputs, x, rows))

    def term(self, loss, outputs, inputs, indices):
        if not callable(self.bound):
            return 0.0
        return given(self.bound, loss=loss, outputs=outputs, inputs=inputs, indices=indices)

    def backward(self, rows, factor=1.0):
        self.engine.backward(lambda: self.loss(rows, factor), scaler=self.scaler)

    def step(self, rows, factor=1.0):
        self.backward(rows, factor)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()

    def train(self, steps, start=0):
        for t in range(start, start + steps):
            self.step(torch.arange(EXAMPLES).split(BATCH)[t % 2])
        return self


def given(function, **offered):
    """Call with those of the offered arguments that the function takes."""
    taken = inspect.signature(function).parameters
    return function(**{key: value for key, value in offered.items() if key in taken})


def hooks(optimizer):
    return len(optimizer._optimizer_step_pre_hooks) + len(optimizer._optimizer_step_post_hooks)


def memory(run):
    return {key: value for key, value in run.bound.state_dict().items() if key != "penalty"}


def numbers(state):
    """The floating tensors in a state, however deep."""
    if isinstance(state, dict):
        return [t for value in state.values() for t in numbers(value)]
    return [state] if isinstance(state, torch.Tensor) and state.is_floating_point() else []


def test_builds_with_defaults_and_is_frozen(name):
    penalty = load("penalties", name)()
    assert hash(penalty) == hash(load("penalties", name)())
    with pytest.raises(dataclasses.FrozenInstanceError):
        penalty.COPIES = 7


def test_says_its_formula_its_cost_and_where_it_comes_from(name):
    doc = load("penalties", name).__doc__
    assert all(words in doc for words in (":math:", "Attributes:", "Cost:", "References:"))


def test_leaves_no_hook_after_remove(name):
    run = Run(build("penalties", name)).train(1)
    assert hooks(run.optimizer) == 1
    run.bound.remove()
    run.bound.remove()
    assert hooks(run.optimizer) == 0
    run.train(1)
    assert run.bound.count == 1


def test_changes_nothing_when_switched_off(name):
    penalty = load("penalties", name)
    without = everything(Run(None).train(16).model)
    assert_same(everything(Run(penalty(**penalty.OFF)).train(16).model), without)


def test_changes_training_unless_it_has_nothing_to_switch_off(name):
    penalty = load("penalties", name)
    weights = [Run(each).train(16).model.state_dict()["head.weight"] for each in (penalty(), None)]
    assert torch.equal(*weights) == (penalty.OFF == {})


def test_stays_at_work_when_nobody_keeps_it_and_goes_with_the_optimizer(name):
    gc.collect()
    gc.disable()
    try:
        run = Run(build("penalties", name)).train(2)
        bound, optimizer = weakref.ref(run.bound), weakref.ref(run.optimizer)
        run.bound = None
        assert bound() is not None
        del run
        assert (bound(), optimizer()) == (None, None)
    finally:
        gc.enable()


@pytest.mark.parametrize("fused", [False, True])
def test_does_nothing_in_a_step_that_a_scaler_skips(name, fused):
    run = Run(build("penalties", name), fused=fused)
    run.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    run.train(3).backward(torch.arange(BATCH), float("inf"))
    before = copy.deepcopy([list(run.model.parameters()), numbers(run.bound.state_dict())])
    run.scaler.step(run.optimizer)
    assert_same([list(run.model.parameters()), numbers(run.bound.state_dict())], before)
    assert run.bound.count == 3 + fused  # a fused optimiser skips on the device, inside a step


def test_acts_once_for_all_micro_batches(name):
    run = Run(build("penalties", name))
    for _ in range(3):
        for rows in torch.arange(EXAMPLES).split(4):
            run.backward(rows, 0.25)
        run.optimizer.step()
        run.optimizer.zero_grad()
    assert run.bound.count == 3


def test_composes_with_a_method_of_two_passes(name):
    """At radius 0 the second pass sees what the first saw, so nothing may differ from one pass."""
    seen = []
    for method in (lowland.SGD(), lowland.SAM(rho=0.0)):
        run = Run(build("penalties", name), method).train(16)
        seen.append([everything(run.model), memory(run)])
    assert_same(*seen)


def test_leaves_the_weights_to_the_step(name):
    run = Run(build("penalties", name), lowland.SAM(rho=0.1)).train(13)
    before = copy.deepcopy(list(run.model.parameters()))
    run.backward(torch.arange(BATCH))
    assert_same(list(run.model.parameters()), before)


def test_goes_on_from_a_checkpoint_bit_for_bit(name, tmp_path):
    whole = Run(build("penalties", name), lowland.SAM(rho=0.1)).train(20)
    expected = [everything(whole.model), memory(whole)]
    first = Run(build("penalties", name), lowland.SAM(rho=0.1)).train(14)
    torch.save([first.bound.state_dict(), torch.get_rng_state()], tmp_path / "state")
    second = Run(build("penalties", name), lowland.SAM(rho=0.1))
    second.model.load_state_dict(first.model.state_dict())
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    state, chance = torch.load(tmp_path / "state", weights_only=True)
    second.bound.load_state_dict(state)
    torch.set_rng_state(chance)
    second.train(6, start=14)
    assert_same([everything(second.model), memory(second)], expected)


def test_refuses_the_state_of_another_penalty_or_a_part_of_one(name):
    bound = Run(build("penalties", name)).bound
    own = type(build("penalties", name)).__name__
    with pytest.raises(ValueError, match=f"The state must be one of {own}, got one of Other"):
        bound.load_state_dict({"penalty": "Other"})
    with pytest.raises(ValueError, match=r"The state must be whole, got one without .*count"):
        bound.load_state_dict({"penalty": own})


def test_refuses_to_be_copied(name):
    bound = Run(build("penalties", name)).bound
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match=r"cannot be copied or pickled.*bind again"):
            copied(bound)


def test_keeps_as_many_copies_of_the_trained_weights_as_it_states(name):
    run = Run(build("penalties", name)).train(2)
    trained = {p.shape for p in run.model.parameters() if p.requires_grad}
    own = [t for t in numbers(run.bound.state_dict()) if t.shape in trained]
    count = sum(p.numel() for p in run.model.parameters() if p.requires_grad)
    statistics = sum(b.numel() for b in run.model.buffers() if b.is_floating_point())
    kept = sum(t.numel() for t in own)
    assert kept in (load("penalties", name).COPIES * count, load("penalties", name).COPIES * (count + statistics))


def test_takes_the_forward_passes_it_states(name):
    run, passes = Run(build("penalties", name)), []
    counted = nn.modules.module.register_module_forward_hook(
        lambda module, *_: passes.append(1) if isinstance(module, Net) else None
    )
    try:
        run.backward(torch.arange(BATCH))
    finally:
        counted.remove()
    assert len(passes) == 1 + load("penalties", name).FORWARDS


def test_never_waits_for_the_device(name):
    """On the meta device any read of a value raises, as a synchronisation would be one."""
    run = Run(None)
    model = run.model.to("meta")
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    run.bound = given(build("penalties", name).bind, model=model, optimizer=optimizer, examples=EXAMPLES)
    x, rows = run.x[:BATCH].to("meta"), torch.arange(BATCH, device="meta")
    for _ in range(2):
        outputs = model(x)
        loss = outputs.square().sum()
        (loss + run.term(loss, outputs, x, rows)).backward()
        optimizer.step()
    assert run.bound.count == 2
