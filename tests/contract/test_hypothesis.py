"""Whatever a step is put together from, it keeps the engine's promises.

A fixed sample of combinations by default; thousands of new ones with ``LOWLAND_NIGHTLY=1``.
"""

import copy
import dataclasses
import io
import math
import os

import pytest
import torch
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._pytree import tree_flatten

import lowland
from lowland.catalog import load, names
from rigs import Net, assert_same, batches, everything

NIGHTLY = os.environ.get("LOWLAND_NIGHTLY") == "1"
pytestmark = pytest.mark.filterwarnings("ignore:.*lost in rounding")
law = settings(
    max_examples=1000 if NIGHTLY else 25,
    derandomize=not NIGHTLY,
    database=None,
    deadline=None,
    print_blob=True,
    phases=[Phase.generate, *([Phase.shrink] if NIGHTLY else [])],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


# What is drawn.


def between(low, high):
    return st.floats(low, high, allow_subnormal=False)


RADII = st.one_of(
    between(0.0, 0.5),
    st.builds(lowland.Cosine, between(0.1, 0.5), between(0.0, 0.1), st.integers(1, 4)),
    st.builds(lowland.WarmUp, between(0.1, 0.5), st.integers(1, 4)),
)
VALUES = {
    **dict.fromkeys(["rho", "rho_min", "rho_1", "rho_2"], RADII),
    **dict.fromkeys(["alpha", "beta_1", "beta_2", "beta_3"], between(0.0, 1.0)),
    **dict.fromkeys(["beta", "theta", "share"], between(0.1, 1.0)),
    **dict.fromkeys(["gamma", "delta", "lam", "s"], between(0.0, 0.9)),
    **dict.fromkeys(["eta", "sigma", "tail_weight"], between(0.0, 2.0)),
    **dict.fromkeys(["k", "samples", "iterations", "steps"], st.integers(1, 3)),
    "nme": st.sampled_from(["keep", "ablated"]),
    **dict.fromkeys(["decoupled", "scale_all"], st.booleans()),
    "c": between(-2.0, 2.0),
    "m": st.integers(1, 9),
    "p": st.sampled_from([1.5, 2.0, 3.0, math.inf]),
    "r": between(0.001, 0.1),
    "start": st.integers(0, 2),
    "stretch": between(0.1, 2.0),
    "per": st.sampled_from(["model", "tensor"]),
    "link": st.sampled_from(["softmax", "sigmoid"]),
    "tail": st.sampled_from([(), (0,), (1, 2), (0, 1, 2)]),
    ("rst", "p"): between(0.0, 1.0),
    ("esam", "gamma"): between(0.1, 1.0),
    ("lpf_sgd", "gamma"): between(0.0, 0.1),
    ("rwp", "gamma"): between(0.0, 0.1),
}
"""Settings by name, or by method and name; what is not here stays as it is by default."""


@st.composite
def methods(draw, depth=2):
    """Any method; those that use another use any, and so on."""
    fields = {n: [f.name for f in dataclasses.fields(load("methods", n))] for n in names("methods")}
    name = draw(st.sampled_from([n for n in fields if depth or "method" not in fields[n]]))
    drawn = {f: VALUES.get((name, f), VALUES.get(f)) for f in fields[name]}
    found = {f: draw(strategy) for f, strategy in drawn.items() if strategy is not None}
    if "method" in fields[name]:
        found["method"] = draw(methods(depth=depth - 1))
    return load("methods", name)(**found)


def follows_an_optimiser(method):
    return follows_momentum(method) or getattr(innermost(method), "decoupled", False)


def follows_momentum(method):
    return isinstance(innermost(method), lowland.MomentumSAM)


def innermost(method):
    return innermost(method.inner) if hasattr(method, "inner") else method


class Skipping(nn.Module):
    """Cumulative batch norm, dropout, and a layer that half of the passes leave out."""

    def __init__(self, dtype):
        super().__init__()
        self.conv, self.norm = nn.Linear(16, 12, dtype=dtype), nn.BatchNorm1d(4, momentum=None, dtype=dtype)
        self.drop, self.extra = nn.Dropout(0.2), nn.Linear(12, 12, dtype=dtype)
        self.head = nn.Linear(12, 3, dtype=dtype)

    def forward(self, x):
        h = self.drop(torch.tanh(self.norm(self.conv(x.flatten(1)).unflatten(1, (4, 3)))).flatten(1))
        return self.head(h + self.extra(h) if torch.rand(()) < 0.5 else h)


class Plain(nn.Module):
    """No buffers and no chance."""

    def __init__(self, dtype):
        super().__init__()
        self.conv, self.norm = nn.Linear(16, 5, dtype=dtype), nn.LayerNorm(5, dtype=dtype)
        self.head = nn.Linear(5, 3, dtype=dtype)

    def forward(self, x):
        return self.head(torch.relu(self.norm(self.conv(x.flatten(1)))))


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.05)


def momentum(parameters):
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=0.01)


def adamw(parameters):
    return torch.optim.AdamW(parameters, lr=0.01)


def matrices(site):
    return site.parameter.ndim > 1


@dataclasses.dataclass(frozen=True)
class Case:
    """One combination; its fields are printed when it breaks a law."""

    method: lowland.Method
    model: type[nn.Module]
    dtype: torch.dtype
    frozen: str
    optimizer: object
    bound: bool
    masters: bool
    how: dict
    scale: int | None
    sizes: list[int]
    many: bool


CASES = st.builds(
    Case,
    methods(),
    st.sampled_from([Net, Skipping, Plain]),
    st.sampled_from([torch.float64, torch.float32, torch.bfloat16]),
    st.sampled_from(["", "", "conv", "norm", "head"]),
    st.sampled_from([sgd, momentum, adamw]),
    st.booleans(),
    st.booleans(),
    st.fixed_dictionaries(
        {
            "where": st.sampled_from([None, None, lowland.norm_only, lowland.no_norm, matrices, "head*"]),
            "radii": st.sampled_from([None, {"*": 0.5}, {"head*": 2.0, "norm.*": 0.0}]),
            "buffers": st.sampled_from(["clean", "clean", "every"]),
            "rng": st.sampled_from(["same", "same", "fresh"]),
            "watch": st.booleans(),
        }
    ),
    st.none() | st.integers(0, 12),
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
    st.booleans(),
)


class Training:
    """A run of a case. Two of them, with the same steps, end up the same, bit for bit."""

    def __init__(self, case):
        assume(case.optimizer is not sgd or not follows_momentum(case.method))  # it keeps none
        torch.manual_seed(1)
        self.case, self.model, self.t = case, case.model(case.dtype), 0
        for name, p in self.model.named_parameters():
            if case.frozen and name.startswith(case.frozen):
                p.requires_grad_(False)
        self.parts = {"model": self.model}
        leaves, how = [p for p in self.model.parameters() if p.requires_grad], dict(case.how)
        if case.masters and case.dtype == torch.bfloat16:
            how["masters"] = self.parts["masters"] = lowland.Masters(self.model)
            leaves = how["masters"].parameters()
        self.optimizer = case.optimizer(leaves)
        if case.bound or "masters" in how or follows_an_optimiser(case.method):
            how["optimizer"] = self.optimizer
        try:
            self.engine = case.method.bind(self.model, **how)
        except ValueError as error:
            assume("leaves nothing" not in str(error) and "picks frozen ones only" not in str(error))
            raise
        enabled = case.scale is not None
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0 ** (case.scale or 0), enabled=enabled)
        self.parts |= {"engine": self.engine, "optimizer": self.optimizer, "scaler": self.scaler}

    @property
    def groups(self):
        """The closures of this step, those of one backward together."""
        data = [next(batches(1, n, self.case.dtype, seed=97 * self.t + i)) for i, n in enumerate(self.case.sizes)]
        factor = 1 / len(data)
        goals = [lowland.objective(self.model, nn.functional.cross_entropy, x, y, scale=factor) for x, y in data]
        return [goals] if self.case.many else [[goal] for goal in goals]

    def backward(self, index):
        torch.manual_seed(101 * self.t + index)
        self.engine.backward_many(self.groups[index], scaler=self.scaler)

    def finish(self):
        self.scaler.step(self.optimizer), self.scaler.update(), self.optimizer.zero_grad()
        self.t += 1

    def step(self):
        for index in range(len(self.groups)):
            self.backward(index)
        self.finish()

    @property
    def states(self):
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load(self, states):
        for name, part in self.parts.items():
            part.load_state_dict(states[name])

    @property
    def all(self):
        """All that a step could change: tensors, and other values."""
        trained = [p.grad for group in self.optimizer.param_groups for p in group["params"]]
        leaves, shape = tree_flatten(copy.deepcopy({**everything(self.model), **self.states, "trained": trained}))
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        return tensors, [leaf for leaf in leaves if not isinstance(leaf, torch.Tensor)], shape

    @property
    def finite(self):
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        return all(p.grad.isfinite().all() for p in trained if p.grad is not None)


def assert_alike(a, b):
    assert a[1:] == b[1:]
    assert_same(a[0], b[0])


# What must hold.


@law
@given(CASES)
def test_weights_come_back_and_gradients_are_finite_where_the_clean_ones_are(case):
    run = Training(case)
    plain = Training(dataclasses.replace(case, method=lowland.SGD()))
    for _ in range(3):
        for name in {"model", "masters"} & run.parts.keys():
            plain.parts[name].load_state_dict(run.states[name])
        for index in range(len(run.groups)):
            before = [p.detach().clone() for p in run.model.parameters()]
            run.backward(index), plain.backward(index)
            assert_same(list(run.model.parameters()), before)
            assert run.finite or not plain.finite
        run.finish(), plain.finish()


class Stop(Exception):
    """Raised in the middle of a pass."""


class Fault:
    """A forward hook that does something once, in a pass of its own choice."""

    def __init__(self, kind, at):
        self.kind, self.at, self.passes = kind, at, 0

    def __repr__(self):
        return f"Fault({self.kind!r}, {self.at})"

    @property
    def happened(self):
        return self.passes >= self.at

    def __call__(self, model, inputs, outputs):
        self.passes += 1
        return getattr(self, self.kind)(model, outputs) if self.passes == self.at else None

    def raises(self, model, outputs):
        model.eval()
        for buffer in model.buffers():
            buffer.fill_(7)
        raise Stop

    def interrupts(self, model, outputs):
        raise KeyboardInterrupt

    def raises_in_autograd(self, model, outputs):
        def stop(gradient):
            raise Stop

        if outputs.requires_grad:
            outputs.register_hook(stop)

    def calls_backward(self, model, outputs):
        outputs.sum().backward(retain_graph=True)

    def clears_gradients(self, model, outputs):
        model.zero_grad()

    def gives_something_else(self, model, outputs):
        return outputs[:, :0]

    def is_not_finite(self, model, outputs):
        return outputs * math.nan


KINDS = [name for name in vars(Fault) if not name.startswith("_") and name != "happened"]
FAULTS = st.builds(Fault, st.sampled_from(KINDS), st.integers(1, 6))


@law
@given(CASES, FAULTS, st.integers(0, 2), st.integers(0, 2))
def test_a_fault_leaves_all_as_it_was_and_the_next_step_is_fine(case, fault, at, index):
    run, twin = Training(case), Training(case)
    for _ in range(at):
        run.step(), twin.step()
    index %= len(run.groups)
    for each in range(index):
        run.backward(each), twin.backward(each)
    torch.manual_seed(101 * run.t + index)
    before, weights = run.all, [p.detach().clone() for p in run.model.parameters()]
    hook = run.model.register_forward_hook(fault)
    try:
        run.backward(index)
    except (Exception, KeyboardInterrupt):
        assert_alike(run.all, before)
        run.backward(index)
    hook.remove()
    assert_same(list(run.model.parameters()), weights)
    twin.backward(index)
    for each in range(index + 1, len(run.groups)):
        run.backward(each), twin.backward(each)
    if fault.kind == "is_not_finite" and fault.happened:
        run.optimizer.zero_grad(), run.step(), run.backward(0)
        assert run.finite
        return
    run.finish(), twin.finish()
    run.step(), twin.step()
    assert_alike(run.all, twin.all)


@law
@given(CASES, st.integers(1, 3))
def test_a_resumed_run_goes_on_bit_for_bit(case, steps):
    run, resumed, file = Training(case), Training(case), io.BytesIO()
    for _ in range(steps):
        run.step()
    torch.save(run.states, file)
    file.seek(0)
    resumed.load(torch.load(file, weights_only=True))
    resumed.t = run.t
    for _ in range(2):
        run.step(), resumed.step()
    assert_alike(run.all, resumed.all)


@law
@given(CASES, st.integers(-4, 20))
def test_a_loss_scale_changes_nothing(case, scale):
    case = dataclasses.replace(case, dtype=torch.float64)
    plain, scaled = (Training(dataclasses.replace(case, scale=each)) for each in (None, scale))
    for _ in range(3):
        plain.step(), scaled.step()
    left, right = (each.model.state_dict() for each in (plain, scaled))
    torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-12)
