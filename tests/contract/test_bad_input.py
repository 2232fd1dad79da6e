"""Every method answers bad input with a clear error or the documented fallback, and the next step is fine."""

import copy
import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_leaves

import lowland
from lowland.catalog import load, names
from lowland.engine.step import Schedule
from rigs import assert_same, batches, everything, momentum, net

METHODS = names("methods")
SETTINGS = {
    "sam, p = 1.5": lowland.SAM(p=1.5),
    "sam, p = 3": lowland.SAM(p=3.0),
    "sam, p = inf": lowland.SAM(p=math.inf),
    "sam by tensor": lowland.SAM(per="tensor"),
    "asam as davda": lowland.ASAM.as_davda(),
    "asam, p = 1.5": lowland.ASAM(p=1.5),
    "sam_on, p = 3": lowland.SAMON(p=3.0),
    "msam, m = 3": lowland.MSAM(m=3),
    "lpf_sgd in parts": lowland.LPFSGD(samples=3),
    "wsam, coupled": lowland.WSAM(decoupled=False),
    "imb_sam with a tail": lowland.ImbSAM(tail=(0, 2)),
    "look_sam, k = 1": lowland.LookSAM(k=1),
    "eigen_sam, k = 1": lowland.EigenSAM(k=1),
    "sparse_sam, k = 1": lowland.SparseSAM(k=1),
    "every of ae_sam": lowland.Every(method=lowland.AESAM(method="vasso"), k=1),
    "rst of obf": lowland.RST(method=lowland.OBF(method="msam:m=3"), p=1.0),
}
"""Settings under which a method takes another way than by default."""

BALLS = [name for name in [*METHODS, *SETTINGS] if name.replace(",", " ").split()[0] in {"sam", "asam", "sam_on"}]
ORDERS = {("sam", "p"), ("asam", "p"), ("sam_on", "p")}
SIGNED = {("ae_sam", "c")}
SPREADS = {("lpf_sgd", "gamma"), ("rwp", "gamma")}

pytestmark = pytest.mark.filterwarnings("ignore:.*lost in rounding")
every_method = pytest.mark.parametrize("name", METHODS)
every_setting = pytest.mark.parametrize("name", [*METHODS, *SETTINGS])


def method_of(name):
    return SETTINGS[name] if name in SETTINGS else load("methods", name)()


class Run:
    """A net in training. Runs that are given the same end up the same, bit for bit."""

    def __init__(self, method, model=None, dtype=torch.float64, **how):
        self.model, self.t = model or net(dtype), 0
        self.optimizer = momentum(self.model)
        method = method_of(method) if isinstance(method, str) else method
        self.engine = method.bind(self.model, optimizer=self.optimizer, **how)

    def goal(self, size=8, criterion=nn.functional.cross_entropy, each=nn.functional.cross_entropy):
        x, y = next(batches(1, size, next(self.model.parameters()).dtype, seed=self.t))
        return lowland.objective(self.model, criterion, x, y, each=lambda z, y: each(z, y, reduction="none"))

    def backward(self, *goals, **how):
        torch.manual_seed(self.t)
        return self.engine.backward_many(goals or [self.goal()], **how)

    def step(self, *goals):
        self.backward(*goals)
        self.optimizer.step(), self.optimizer.zero_grad()
        self.t += 1

    @property
    def all(self):
        """All that a step could change: tensors, and other values."""
        states = {"engine": self.engine.state_dict(), "optimizer": self.optimizer.state_dict()}
        leaves, shape = tree_flatten({**everything(self.model), **copy.deepcopy(states)})
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        return tensors, [leaf for leaf in leaves if not isinstance(leaf, torch.Tensor)], shape

    @property
    def memory(self):
        return copy.deepcopy(self.engine.state_dict()["memory"])

    @property
    def weights(self):
        return [p.detach().clone() for p in self.model.parameters()]

    @property
    def gradients(self):
        return [p.grad for p in self.model.parameters()]

    @property
    def finite(self):
        return all(g.isfinite().all() for g in self.gradients if g is not None)


def twins(method, steps=1, **how):
    pair = Run(method, **how), Run(method, **how)
    for run in pair:
        for _ in range(steps):
            run.step()
    return pair


def assert_alike(a, b):
    assert a[1:] == b[1:]
    assert_same(a[0], b[0])


def refuses(run, twin, act, error, words):
    """``act`` is refused by its words, changes nothing, and the next step is that of a run that was spared it."""
    torch.manual_seed(run.t)
    before = run.all
    with pytest.raises(error, match=words):
        act()
    assert_alike(run.all, before)
    run.step(), twin.step()
    assert_alike(run.all, twin.all)


class At:
    """A criterion that does something to the loss in one of its calls, or in all."""

    def __init__(self, call, act):
        self.call, self.act, self.calls = call, act, 0

    def __call__(self, outputs, y):
        self.calls += 1
        loss = nn.functional.cross_entropy(outputs, y)
        return self.act(loss) if self.call in (None, self.calls) else loss


def closure(run, call, act):
    """The loss as a bare closure, spoilt in one pass; skips what must know its examples, or takes fewer passes."""
    if call > run.engine.method.passes:
        pytest.skip("never takes that pass")
    (x, y), criterion, trial = next(batches(1)), At(call, act), Run(run.engine.method)
    try:
        trial.engine.backward(lambda: nn.functional.cross_entropy(trial.model(x), y))
    except TypeError:
        pytest.skip("needs its examples")
    return lambda: criterion(run.model(x), y)


# Settings.


def numbers():
    """Every method's settings that are numbers by default."""
    fields = [(name, field) for name in METHODS for field in dataclasses.fields(load("methods", name))]
    return [
        (n, f.name) for n, f in fields if isinstance(f.default, int | float) and not isinstance(f.default, bool)
    ]


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf, "big", True, 0.5j])
@pytest.mark.parametrize(("name", "field"), numbers())
def test_a_setting_that_cannot_be_is_refused_by_its_name(name, field, bad):
    if (bad == math.inf and (name, field) in ORDERS) or (bad == -1 and (name, field) in SIGNED):
        pytest.skip("means something")
    with pytest.raises((TypeError, ValueError), match=rf"\b{field} must be"):
        load("methods", name)(**{field: bad})


def radii():
    """Every method's radii that may follow a schedule."""
    fields = [(n, f) for n in METHODS for f in dataclasses.fields(load("methods", n)) if f.type == Schedule]
    return [(n, f.name) for n, f in fields if f.name.startswith("rho") or (n, f.name) in SPREADS]


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf])
@pytest.mark.parametrize(("name", "field"), radii())
def test_a_schedule_that_gives_no_radius_is_refused(name, field, bad):
    radius, others = [0.1], {"tail": (0, 2)} if name == "imb_sam" else {}
    run, twin = twins(load("methods", name)(**{field: lambda moment: radius[0]}, **others), steps=0)

    def act():
        radius[0] = bad
        try:
            run.backward()
        finally:
            radius[0] = 0.1

    refuses(run, twin, act, ValueError, "must be a finite number >= 0, got")


@pytest.mark.parametrize("other", [None, 3, "sma", lowland.SAM, object()])
@pytest.mark.parametrize("name", [n for n in METHODS if "method" in load("methods", n).__dataclass_fields__])
def test_a_wrapper_around_no_method_is_refused(name, other):
    with pytest.raises((TypeError, LookupError), match=r"method must be a training method|no method called 'sma'"):
        load("methods", name)(method=other)


# Numbers that are not finite.


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("call", [1, 2, None])
@every_setting
def test_passes_that_are_not_finite_leave_the_weights_alone_and_the_next_step_finite(name, call, bad):
    run, _ = twins(name)
    before = run.weights
    run.backward(run.goal(criterion=At(call, lambda loss: loss * bad)))
    assert_same(run.weights, before)
    run.optimizer.zero_grad()
    run.step(), run.backward()
    assert run.finite
    assert all(w.isfinite().all() for w in run.weights)


@pytest.mark.parametrize("bad", [0.0, math.nan, math.inf])
@pytest.mark.parametrize("name", BALLS)
def test_a_first_gradient_without_a_direction_gives_the_plain_gradient(name, bad):
    run, plain = Run(name), Run("sgd")
    run.backward(run.goal(criterion=At(1, lambda loss: loss * bad))), plain.backward()
    assert_same(run.gradients, plain.gradients)


@pytest.mark.parametrize("size", [1e-12, 1e-3, 1e6])
@pytest.mark.parametrize("p", [1.05, 1.2, 1.5, 2.0, 3.0, 10.0, math.inf])
def test_a_ball_of_any_order_is_reached_by_gradients_of_any_size(p, size):
    torch.manual_seed(0)
    model, seen = nn.Linear(4, 3), []
    start = copy.deepcopy(model.state_dict())

    def loss():
        moved = torch.cat([(w - start[n]).reshape(-1) for n, w in model.named_parameters()])
        seen.append(moved.detach().norm(p).item())
        return model(torch.ones(2, 4)).pow(2).mean() * size

    lowland.SAM(rho=0.1, p=p).bind(model).backward(loss)
    assert seen == pytest.approx([0, 0.1], rel=1e-3)
    assert model.weight.grad.isfinite().all()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@every_setting
def test_what_was_remembered_stays_as_it_was_where_nothing_is_finite(name, bad):
    run, _ = twins(name)
    before = run.memory
    run.backward(run.goal(criterion=lambda z, y: bad * z.sum(), each=lambda z, y, reduction: bad * z.sum(1)))
    assert_same(run.memory, before)


@pytest.mark.parametrize("bad", [0.0, math.nan])
@pytest.mark.parametrize("name", [n for n in SETTINGS if "k = 1" in n] + ["ae_sam", "f_sam", "stale_sam", "vasso"])
def test_a_method_whose_first_step_taught_nothing_learns_in_the_next(name, bad):
    run = Run(name)
    run.backward(run.goal(criterion=lambda z, y: bad * z.sum(), each=lambda z, y, reduction: bad * z.sum(1)))
    run.optimizer.zero_grad()
    run.step(), run.step()
    for key, value in run.memory.items():
        assert sum(float(t.abs().sum()) for t in tree_leaves(value)) > 0, key


# Batches.


@pytest.mark.parametrize("size", [1, 7])
@every_setting
def test_batches_of_one_and_of_odd_sizes_train(name, size):
    run = Run(name)
    run.step(run.goal(size))
    before = run.weights
    run.backward(run.goal(size))
    assert_same(run.weights, before)
    assert run.finite


@every_setting
def test_micro_batches_of_odd_sizes_train_together(name):
    run = Run(name)
    before = run.weights
    run.backward(run.goal(5), run.goal(1), run.goal(3))
    assert_same(run.weights, before)
    assert run.finite


@every_method
def test_an_empty_batch_is_refused_or_leaves_the_weights_alone(name):
    run, _ = twins(name)
    x, y = next(batches(1))
    with pytest.raises(ValueError, match="at least 1"):
        lowland.objective(run.model, nn.functional.cross_entropy, x[:0], y[:0])
    before = run.weights
    try:
        run.engine.backward(lambda: nn.functional.cross_entropy(run.model.eval()(x[:0]), y[:0]))
    except TypeError as error:
        assert "needs its examples" in str(error)  # noqa: PT017 - either is right
    assert_same(run.weights, before)
    run.model.train(), run.optimizer.zero_grad(), run.step(), run.backward()
    assert run.finite


@every_method
def test_one_example_in_one_dimensional_batch_norm_is_refused_by_torch_and_undone(name):
    def model():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.BatchNorm1d(5), nn.Dropout(), nn.Linear(5, 3))

    run, twin = Run(name, model().double()), Run(name, model().double())
    refuses(run, twin, lambda: run.backward(run.goal(1)), ValueError, "Expected more than 1 value per channel")


# Which parameters.


@every_method
def test_a_filter_that_picks_nothing_is_refused(name):
    with pytest.raises(ValueError, match="which picks none"):
        Run(name, where="nothing.*")
    with pytest.raises(ValueError, match="'nothing'"):
        Run(name, radii={"nothing": 2.0})


@pytest.mark.parametrize("scaled", [False, True])
@every_setting
def test_where_all_that_is_perturbed_is_frozen_nothing_is_perturbed(name, scaled):
    run = Run(name, where="norm.*")
    run.model.norm.requires_grad_(False)
    before = run.weights
    run.backward(scaler=torch.amp.GradScaler("cpu") if scaled else None)
    assert_same(run.weights, before)
    assert run.finite
    assert run.model.head.weight.grad.any()


@pytest.mark.parametrize("scaled", [False, True])
@every_method
def test_a_model_frozen_throughout_is_refused(name, scaled):
    run, twin = twins(name)
    trained = [p for p in run.model.parameters() if p.requires_grad]

    def act():
        run.model.requires_grad_(False)
        try:
            run.backward(scaler=torch.amp.GradScaler("cpu") if scaled else None)
        finally:
            for p in trained:
                p.requires_grad_(True)

    refuses(run, twin, act, ValueError, "must have trainable parameters, got all of them frozen")


@every_method
def test_an_optimiser_of_other_parameters_is_refused(name):
    model, other = net(), nn.Linear(2, 2)
    for strangers in ([*model.parameters(), *other.parameters()], other.parameters()):
        with pytest.raises(ValueError, match="must train only the model's parameters, got 2 of others"):
            method_of(name).bind(model, optimizer=torch.optim.SGD(strangers, lr=0.1))


@every_setting
def test_a_loss_that_trains_a_second_model_is_refused_every_time(name):
    run, twin = Run(name), Run(name)
    other = nn.Linear(3, 3).double()
    each = [lambda z, y, **how: nn.functional.cross_entropy(other(z), y, **how)] * 2
    goal = run.goal(8, *each)
    words = "must depend only on parameters of the bound model"
    with pytest.raises(ValueError, match=words):
        run.backward(goal)
    refuses(run, twin, lambda: run.backward(goal), ValueError, words)
    assert other.weight.grad is None


# Models that change after they were bound.


@pytest.mark.parametrize("steps", [0, 1])
@pytest.mark.parametrize("kind", [nn.Parameter, lambda ones: nn.Sequential(nn.ParameterList([ones]))])
@every_method
def test_parameters_added_after_bind_are_refused(name, kind, steps):
    run, twin = twins(name, steps)
    factor = torch.ones(3, dtype=torch.float64)

    def act():
        run.model.extra = kind(factor)
        (p,) = run.model.extra.parameters() if isinstance(run.model.extra, nn.Module) else [run.model.extra]
        try:
            run.backward(run.goal(criterion=lambda z, y: nn.functional.cross_entropy(z * p, y)))
        finally:
            del run.model.extra

    refuses(run, twin, act, (RuntimeError, ValueError), "bind")


@every_method
def test_a_parameter_exchanged_after_bind_is_refused(name):
    run, twin = twins(name)
    old = run.model.head.weight

    def act():
        run.model.head.weight = nn.Parameter(old.detach().clone())
        try:
            run.backward()
        finally:
            run.model.head.weight = old

    refuses(run, twin, act, RuntimeError, "must keep the parameters and modules that it was bound with")


@every_method
def test_a_model_that_is_moved_to_other_parameters_is_refused(name):
    run, _ = twins(name)
    run.model.to("meta")
    with pytest.raises(RuntimeError, match="bind it again"):
        run.backward()


@every_method
def test_a_buffer_added_after_bind_is_updated_by_the_clean_pass_only(name):
    def count(model, inputs, outputs):
        model.seen += len(outputs)

    run, plain = Run(name), Run("sgd")
    for each in (run, plain):
        each.model.register_buffer("seen", torch.zeros(()))
        each.model.register_forward_hook(count)
        each.backward()
    assert run.model.seen == plain.model.seen


@pytest.mark.parametrize(
    ("old", "new"),
    [(torch.float64, torch.float32), (torch.float32, torch.float64), (torch.float32, torch.bfloat16)],
)
@every_method
def test_a_model_that_is_cast_after_bind_trains_on(name, old, new):
    run = Run(name, dtype=old)
    for dtype in (old, new):
        run.model.to(dtype)
        for _ in range(2):
            before = run.weights
            run.backward()
            assert_same(run.weights, before)
            assert run.finite
            assert run.model.head.weight.grad.dtype == dtype
            run.optimizer.zero_grad(), run.step()


@every_method
def test_a_checkpoint_in_another_precision_is_taken_up(name):
    saved, run = Run(name, dtype=torch.float32), Run(name)
    saved.step()
    run.engine.load_state_dict(saved.engine.state_dict())
    run.step(), run.backward()
    assert run.finite


# Closures.


@pytest.mark.parametrize("call", [1, 2])
@every_method
def test_backward_inside_the_closure_is_refused(name, call):
    run, twin = twins(name)
    bad = closure(run, call, lambda loss: (loss.backward(), loss)[1])
    refuses(run, twin, lambda: run.backward(bad), RuntimeError, "must not call backward itself")


@every_method
def test_a_step_inside_a_step_is_refused(name):
    run, twin = twins(name)
    goal = run.goal(criterion=At(1, lambda loss: run.engine.backward(run.goal())))
    refuses(run, twin, lambda: run.backward(goal), RuntimeError, "must not call backward")


@pytest.mark.parametrize("accumulated", [False, True])
@every_method
def test_clearing_gradients_inside_the_closure_is_refused(name, accumulated):
    run, twin = twins(name)
    for each in (run, twin)[: 2 * accumulated]:
        each.backward()
    goal = run.goal(criterion=At(1, lambda loss: (run.optimizer.zero_grad(), loss)[1]))
    refuses(run, twin, lambda: run.backward(goal), RuntimeError, "nor clear gradients")


@pytest.mark.parametrize("call", [1, 2])
@every_method
def test_what_is_no_loss_is_refused_in_every_pass(name, call):
    run, twin = twins(name)
    for spoil, error, words in [
        (lambda loss: loss.expand(3), ValueError, "must return a scalar loss"),
        (lambda loss: loss.detach(), ValueError, "one without a graph"),
        (lambda loss: None, TypeError, "must return the loss, a tensor, got NoneType"),
        (lambda loss: loss.item(), TypeError, "must return the loss, a tensor, got float"),
    ]:
        bad = closure(run, call, spoil)
        refuses(run, twin, lambda bad=bad: run.backward(bad), error, words)


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (lambda loss: loss.expand(3), ValueError, "must return a scalar loss"),
        (lambda loss: loss.detach(), ValueError, "one without a graph"),
        (lambda loss: None, TypeError, "must return the loss, a tensor, got NoneType"),
    ],
)
@every_method
def test_a_criterion_that_gives_no_loss_is_refused(name, spoil, error, words):
    run, twin = twins(name)
    refuses(run, twin, lambda: run.backward(run.goal(criterion=At(None, spoil))), error, words)


@pytest.mark.parametrize("call", [1, 2])
@every_setting
def test_a_failure_inside_autograd_is_undone(name, call):
    def explode(gradient):
        raise ArithmeticError("stop")

    def wire(module, inputs, outputs):
        passes.append(outputs.requires_grad)
        if outputs.requires_grad and sum(passes) == call:
            outputs.register_hook(explode)

    (run, twin), passes = twins(name), []
    if call > run.engine.method.passes:
        pytest.skip("never takes that pass")
    run.model.head.register_forward_hook(wire)
    refuses(run, twin, lambda: run.backward(), ArithmeticError, "stop")


# Methods of the user's own.


class Own(lowland.Method):
    """Ascends along, and returns, what two functions make of the gradients."""

    def __init__(self, along=lambda g: g, back=lambda h: h):
        object.__setattr__(self, "functions", (along, back))

    def direction(self, step):
        along, back = self.functions
        g = along((yield step.gradient()))
        return back((yield step.gradient(at=lowland.ball(g, 0.1), spend=g)))


def test_weights_are_restored_also_where_a_spent_direction_is_less_precise():
    run = Run(Own(along=lambda g: g.map(lambda part: part.bfloat16())))
    before = run.weights
    run.backward()
    assert_same(run.weights, before)


@pytest.mark.parametrize(
    "back", [lambda h: h.map(lambda part: part.float()), lambda h: h.map(lambda part: part.reshape(-1)[:1])]
)
def test_a_direction_that_does_not_fit_the_parameters_is_refused(back):
    run, twin = Run(Own()), Run(Own())
    methods = run.engine.method, Own(back=back)

    def act():
        run.engine.method = methods[1]
        try:
            run.backward()
        finally:
            run.engine.method = methods[0]

    refuses(run, twin, act, (RuntimeError, TypeError, ValueError), "must|match|assign")


# States.


@every_method
def test_a_state_of_another_method_is_refused(name):
    (run, twin), other = twins(name), METHODS[METHODS.index(name) - 1]
    state = Run(other).engine.state_dict()
    words = f"must be this method's, {type(run.engine.method).__name__}, got one of {state['method']}"
    refuses(run, twin, lambda: run.engine.load_state_dict(state), ValueError, words)


def wider():
    """A model of the same kind whose parameters have the same names, some of them another shape."""
    model = net()
    model.conv, model.norm = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6)
    return model.double()


@pytest.mark.parametrize("other", [wider, lambda: nn.Sequential(net())])
@every_method
def test_a_state_of_another_model_is_refused(name, other):
    run, twin = twins(name)
    stranger = Run(name, other())
    stranger.step()
    state = stranger.engine.state_dict()
    if not any(isinstance(value, dict) for value in state["memory"].values()):
        pytest.skip("remembers nothing of a model")
    refuses(run, twin, lambda: run.engine.load_state_dict(state), ValueError, "must fit the model")
