import contextlib

import pytest
import torch
from torch import nn

from lowland.blocks.radius import Cosine, ProportionalToLearningRate
from lowland.catalog import load, names
from lowland.engine import replica_engine
from lowland.engine.replica_vector import ReplicaVector
from lowland.engine.replicas import Replicas
from lowland.methods.asam import ASAM
from lowland.methods.every import Every
from lowland.methods.f_sam import FSAM
from lowland.methods.functional_sam import FunctionalSAM
from lowland.methods.gnp import GNP
from lowland.methods.gsam import GSAM
from lowland.methods.msam import MSAM
from lowland.methods.random_perturbation import RandomPerturbation
from lowland.methods.rst import RST
from lowland.methods.sam import SAM
from lowland.methods.sgd import SGD
from lowland.methods.usam import USAM
from lowland.methods.wsam import WSAM
from lowland.vector import Vector
from pressed import pressed_at

RHOS = (0.0, 0.05, 0.3)
COUNT = len(RHOS)


@pytest.fixture(autouse=True)
def _wide():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.norm, self.outer = nn.Linear(3, 6), nn.LayerNorm(6), nn.Linear(6, 1)

    def forward(self, x):
        return self.outer(torch.tanh(self.norm(self.inner(x))))[..., 0]


def loss(model, x, y):
    return (model(x) - y).square().mean()


def nets(count=COUNT, build=Net):
    return [build() for _ in range(count)]


def data(steps, count=COUNT):
    """A batch for every step and replica."""
    return torch.randn(steps, count, 8, 3), torch.randn(steps, count, 8)


def momentum(parameters):
    return torch.optim.SGD(parameters, lr=0.02, momentum=0.9, weight_decay=1e-3)


def together(models, methods, batches, optimizer=momentum, loss=loss, **bound):
    """Replicas after training, a batch each."""
    replicas = Replicas(models, loss)
    descent = optimizer(replicas.parameters())
    engine = replicas.bind(methods, descent, **bound)
    for x, y in zip(*batches, strict=True):
        engine.backward_each(x, y)
        descent.step()
        descent.zero_grad()
    return replicas


def apart(models, methods, batches, optimizer=momentum, seeds=(0,) * COUNT, loss=loss, **bound):
    """The models themselves, each after training by the ordinary engine."""
    for i, model in enumerate(models):
        descent = optimizer(model.parameters())
        engine = methods[i].bind(model, optimizer=descent, seed=seeds[i], **bound)
        for x, y in zip(*batches, strict=True):
            engine.backward(lambda x=x[i], y=y[i], model=model: loss(model, x, y))
            descent.step()
            descent.zero_grad()
    return models


def assert_equal(replicas, models, atol=1e-10):
    for i, model in enumerate(models):
        own = dict(replicas.unstack(i).named_parameters())
        for name, w in model.named_parameters():
            torch.testing.assert_close(own[name], w, rtol=0, atol=atol)


def assert_as_separate_runs(methods, steps=10, build=Net, **settings):
    models, batches = nets(build=build), data(steps)
    own = {name: value for name, value in settings.items() if name != "seeds"}
    replicas = together(models, methods, batches, **settings)
    assert_equal(replicas, apart(models, methods, batches, seeds=settings.get("seeds", (0,) * COUNT), **own))


def of_each_radius(kind):
    """A method for every replica, with a radius of its own if it has one."""
    try:
        return [kind(rho=rho) for rho in RHOS]
    except TypeError:
        return [kind()] * COUNT


@pytest.mark.parametrize("kind", [SGD, SAM, USAM, GNP, ASAM, GSAM])
def test_equal_separate_runs_over_fifty_steps_with_radii_of_their_own(kind):
    assert_as_separate_runs(of_each_radius(kind), steps=50)


@pytest.mark.parametrize("name", names("methods"))
def test_every_method_equals_separate_runs_or_is_refused_by_words(name):
    try:
        assert_as_separate_runs(of_each_radius(load("methods", name)))
    except NotImplementedError as refusal:
        assert "Replicas must be trained by a method that" in str(refusal)  # noqa: PT017 - or it must not raise


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (FSAM, "that remembers nothing, got another: train each network by itself, method.bind"),
        (MSAM, "that takes gradients of the whole loss, got another"),
        (FunctionalSAM, "that takes gradients of the whole loss, got another"),
        (WSAM, "that leaves the step to the optimiser, got another"),
    ],
)
def test_what_is_refused_changes_nothing(kind, words):
    replicas, (x, y) = Replicas(nets(), loss), data(1)
    engine = replicas.bind(kind(), momentum(replicas.parameters()))
    with pytest.raises(NotImplementedError, match=words):
        engine.backward_each(x[0], y[0])
    assert engine.count == 0
    assert all(w.grad is None for w in replicas.parameters())


@pytest.mark.parametrize("settings", [{"p": 3.0}, {"p": 1.01}, {"p": float("inf")}, {"per": "tensor"}])
def test_balls_of_other_kinds_equal_separate_runs(settings):
    assert_as_separate_runs([SAM(rho=rho, **settings) for rho in RHOS])


@pytest.mark.parametrize("build", [ASAM.as_davda, lambda rho: ASAM(rho=rho, p=3.0)])
def test_stretched_balls_equal_separate_runs(build):
    assert_as_separate_runs([build(rho=rho) for rho in RHOS])


def test_schedules_equal_separate_runs():
    assert_as_separate_runs([SAM(rho=Cosine(rho, 0.0, steps=8)) for rho in RHOS])
    assert_as_separate_runs([SAM(rho=ProportionalToLearningRate(rho, 0.1)) for rho in RHOS])
    assert_as_separate_runs([Every(method=SAM(rho=0.1), k=3)] * COUNT)


def test_adam_equals_separate_runs():
    assert_as_separate_runs(of_each_radius(SAM), optimizer=lambda w: torch.optim.AdamW(w, lr=0.01))


def test_a_filter_on_what_is_perturbed_equals_separate_runs():
    assert_as_separate_runs(of_each_radius(SAM), where="inner.*")


def test_noise_of_a_seed_for_each_replica_equals_separate_runs():
    assert_as_separate_runs([RandomPerturbation(rho=rho) for rho in RHOS], seeds=(3, 1, 4))


def test_one_batch_for_all_is_the_same_batch_for_each():
    models, (x, y) = nets(), data(1)
    shared, each = (Replicas(models, loss) for _ in range(2))
    first = shared.bind(SAM()).backward(x[0, 0], y[0, 0])
    second = each.bind(SAM()).backward_each(x[0, 0].expand(COUNT, 8, 3), y[0, 0].expand(COUNT, 8))
    torch.testing.assert_close(first, second)
    for a, b in zip(shared.parameters(), each.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


class Frozen(Net):
    def __init__(self):
        super().__init__()
        self.norm.requires_grad_(False)
        self.unused = nn.Parameter(torch.ones(2))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.scale = nn.Linear(3, 3), nn.Linear(3, 3), nn.Parameter(torch.tensor(1.0))
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.scale * self.second(torch.tanh(self.first(x))).sum(-1)


@pytest.mark.parametrize("build", [Frozen, Tied])
def test_frozen_unused_tied_and_scalar_parameters_equal_separate_runs(build):
    assert_as_separate_runs(of_each_radius(SAM), build=build)


def test_a_loss_may_look_at_the_weights():
    def decayed(model, x, y):
        return loss(model, x, y) + sum(w.square().sum() for w in model.parameters()) / 10

    assert_as_separate_runs(of_each_radius(SAM), loss=decayed)


@pytest.mark.parametrize("kind", [SGD, SAM, USAM, GSAM, ASAM])
@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e200])
def test_a_replica_that_diverges_does_not_change_the_others_by_one_bit(kind, poison):
    models, (x, y) = nets(), data(12)
    sound = together(models, of_each_radius(kind), (x, y))
    sick = y.clone()
    sick[3:, 1] = poison
    spoilt = together(models, of_each_radius(kind), (x, sick))
    assert not all(w.isfinite().all() for w in spoilt.unstack(1).parameters())
    for i in (0, 2):
        pairs = zip(sound.unstack(i).parameters(), spoilt.unstack(i).parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("kind", [SGD, SAM, USAM, GNP, GSAM, ASAM])
def test_a_replica_without_a_gradient_stays_and_leaves_the_others_as_they_are(kind):
    def build():
        return nn.Sequential(nn.Linear(3, 4, bias=False), nn.Tanh(), nn.Linear(4, 1, bias=False), nn.Flatten(0))

    models, (x, y) = nets(build=build), data(10)
    x[:, 1], y[:, 1] = 0, 0
    methods = [kind(rho=0.1)] * COUNT if kind is not SGD else [SGD()] * COUNT
    replicas = together(models, methods, (x, y), optimizer=lambda w: torch.optim.SGD(w, lr=0.02, momentum=0.9))
    assert_equal(
        replicas, apart(models, methods, (x, y), optimizer=lambda w: torch.optim.SGD(w, lr=0.02, momentum=0.9))
    )


def test_gradients_add_up_over_calls():
    replicas, (x, y) = Replicas(nets(), loss), data(2)
    engine = replicas.bind(SGD())
    engine.backward_each(x[0], y[0])
    first = [w.grad.clone() for w in replicas.parameters()]
    engine.backward_each(x[1], y[1])
    both = [w.grad.clone() for w in replicas.parameters()]
    for w in replicas.parameters():
        w.grad = None
    engine.backward_each(x[1], y[1])
    for w, one, two in zip(replicas.parameters(), first, both, strict=True):
        torch.testing.assert_close(two, one + w.grad)


def test_after_ctrl_c_at_any_moment_a_step_is_whole_or_has_not_been():
    files, (x, y) = {replica_engine.__file__}, data(1)
    moment, states = 1, set()
    while True:
        replicas = Replicas(nets(), loss)
        engine = replicas.bind(SAM(rho=0.1))
        with contextlib.suppress(KeyboardInterrupt):
            passed = pressed_at(moment, lambda: engine.backward_each(x[0], y[0]), files)  # noqa: B023
            if passed < moment:
                break
        filled = [w.grad is not None for w in replicas.parameters()]
        assert len(set(filled)) == 1
        states.add((filled[0], engine.count))
        moment += 3
    assert states == {(False, 0), (True, 1)}


def test_gradients_share_no_memory():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))

    replicas = Replicas([Sum(), Sum()], lambda model, x: (x * (model.a + model.b)).sum())
    replicas.bind(SGD()).backward(torch.ones(2))
    a, b = (w.grad for w in replicas.parameters())
    a.zero_()
    assert b.tolist() == [[1, 1], [1, 1]]


def test_says_the_loss_of_every_replica_and_what_the_step_did():
    replicas, (x, y) = Replicas(nets(), loss), data(1)
    engine = replicas.bind(of_each_radius(SAM))
    told = engine.backward_each(x[0], y[0])
    torch.testing.assert_close(told, replicas.losses_each(x[0], y[0]).detach())
    assert (engine.passes, engine.count, engine.telemetry["passes"]) == (2, 1, 2)
    assert (engine.telemetry["sharpness"] > 0).tolist() == [False, True, True]
    assert not told.requires_grad


def test_models_are_copied_in_and_out():
    models, (x, y) = nets(), data(3)
    before = [w.clone() for w in models[0].parameters()]
    replicas = together(models, SAM(), (x, y))
    assert all(torch.equal(a, b) for a, b in zip(before, models[0].parameters(), strict=True))
    out = replicas.unstack(0)
    with torch.no_grad():
        out.inner.weight.zero_()
    assert replicas.unstack(0).inner.weight.any()
    with pytest.raises(IndexError):
        replicas.unstack(COUNT)


def test_draws_that_decide_for_all_need_one_seed_for_all():
    replicas, (x, y) = Replicas(nets(), loss), data(1)
    engine = replicas.bind(RST(), seeds=(0, 1, 2))
    with pytest.raises(NotImplementedError, match=r"where each has a seed of its own.*: give all the same seed"):
        engine.backward_each(x[0], y[0])


class Normed(Net):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(6)


class Dropping(Net):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.1)


@pytest.mark.parametrize(
    ("models", "error", "words"),
    [
        ([], ValueError, "models must be at least one, got none"),
        ([3], TypeError, "must be a torch.nn.Module, got int"),
        (
            [Normed],
            NotImplementedError,
            "models must have no buffers, such as batch norm's, got 'norm.running_mean'",
        ),
        ([Dropping], NotImplementedError, "models must draw no dropout masks, got 'drop'"),
        (
            [Net, Net, Frozen],
            ValueError,
            "models must be alike but for values, got another network at 2 than at 0",
        ),
    ],
)
def test_networks_that_cannot_be_stacked_are_refused_by_words(models, error, words):
    with pytest.raises(error, match=words):
        Replicas([build() if isinstance(build, type) else build for build in models], loss)


@pytest.mark.parametrize(
    ("methods", "error", "words"),
    [
        ([SAM(), SAM()], ValueError, "methods must be one, or one for each of 3 replicas, got 2"),
        (
            [SAM(), SAM(), GNP()],
            TypeError,
            "methods must be of one kind, got GNP, SAM: make replicas for each kind",
        ),
        ([SAM(), "sam", SAM()], TypeError, "methods must be training methods, got str"),
        (
            [SAM(), SAM(p=3.0), SAM()],
            ValueError,
            "alike but for numbers that may follow a schedule, got different p",
        ),
    ],
)
def test_methods_that_cannot_be_joined_are_refused_by_words(methods, error, words):
    with pytest.raises(error, match=words):
        Replicas(nets(), loss).bind(methods)


def test_other_bad_arguments_are_refused_by_words():
    replicas = Replicas(nets(), loss)
    with pytest.raises(ValueError, match="seeds must be one, or one for each of 3 replicas, got 2"):
        replicas.bind(SAM(), seeds=(0, 1))
    with pytest.raises(ValueError, match="seeds must be at least 0, got -1"):
        replicas.bind(SAM(), seeds=-1)
    with pytest.raises(ValueError, match=r"got 6 other parameters: make it of replicas.parameters\(\)"):
        replicas.bind(SAM(), momentum(Net().parameters()))
    with pytest.raises(ValueError, match="must work entry by entry, got Adafactor: it would mix the replicas"):
        replicas.bind(SAM(), torch.optim.Adafactor(replicas.parameters()))
    with pytest.raises(ValueError, match=r"where must pick at least one parameter, got 'iner\.\*'"):
        replicas.bind(SAM(), where="iner.*")
    with pytest.raises(TypeError, match="loss must be a function of a model and a batch, got int"):
        Replicas(nets(), 3)


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        (lambda model, x: model(x), ValueError, r"The loss must be a scalar, got shape \(8,\): take its mean"),
        (lambda model, x: 1.0, TypeError, "The loss must be a tensor, got float"),
        (lambda model, x: x.sum(), ValueError, "The loss must depend on a trainable parameter"),
    ],
)
def test_losses_that_are_none_are_refused_by_words(wrong, error, words):
    with pytest.raises(error, match=words):
        Replicas(nets(), wrong).bind(SGD()).backward(torch.randn(8, 3))


def test_masks_drawn_without_a_module_are_refused_too():
    def dropping(model, x, y):
        return loss(model, torch.nn.functional.dropout(x), y)

    x, y = data(1)
    with pytest.raises(NotImplementedError, match=r"one that torch\.vmap can compute, without random"):
        Replicas(nets(), dropping).bind(SGD()).backward_each(x[0], y[0])


def vectors():
    """Two vectors with a replica axis, and a list of the same vectors one by one."""
    g = {"a": torch.randn(COUNT, 2, 2), "b": torch.randn(COUNT)}
    h = {"b": torch.randn(COUNT), "c": torch.randn(COUNT, 3)}
    alone = [[Vector({n: p[i] for n, p in v.items()}) for v in (g, h)] for i in range(COUNT)]
    return ReplicaVector(g), ReplicaVector(h), alone


LAWS = {
    "sum": lambda g, h, f: g + h,
    "difference": lambda g, h, f: g - h,
    "product": lambda g, h, f: g * h,
    "multiple": lambda g, h, f: f * g,
    "half": lambda g, h, f: 0.5 * g,
    "plus": lambda g, h, f: g.plus(h, f),
    "plus to nothing": lambda g, h, f: Vector().plus(g, f) * Vector().plus(h).plus(g).norm(),
    "lerp": lambda g, h, f: g.lerp(h, f),
    "lerp by a number": lambda g, h, f: g.lerp(h, 0.25),
    "lerp from nothing": lambda g, h, f: Vector().lerp(g, 0.25) * g.norm(),
    "unit": lambda g, h, f: g.unit(),
    "rejection": lambda g, h, f: g.rejected_from(h),
    "rejection from nothing": lambda g, h, f: g.rejected_from(Vector()),
    "inner product": lambda g, h, f: g.dot(h) * h,
    "no inner product": lambda g, h, f: g.only(frozenset("a")).dot(h) * g,
    "root": lambda g, h, f: g.map(torch.sinh).clone(),
}


@pytest.mark.parametrize("law", LAWS)
def test_arithmetic_is_that_of_each_vector_alone(law):
    g, h, alone = vectors()
    factors = torch.randn(COUNT)
    found = LAWS[law](g, h, factors)
    assert isinstance(found, ReplicaVector)
    for i in range(COUNT):
        expected = LAWS[law](*alone[i], factors[i])
        assert expected.parts.keys() == found.parts.keys()
        for name, part in expected.parts.items():
            torch.testing.assert_close(found.parts[name][i], part, rtol=1e-12, atol=1e-14)


def test_half_precision_keeps_its_dtype_and_is_summed_in_float32():
    v = ReplicaVector({"a": torch.full((2, 4), 300.0, dtype=torch.float16)})
    assert v.norm().tolist() == [600, 600]
    assert (torch.tensor([0.5, 2.0]) * v).parts["a"].dtype == torch.float16
