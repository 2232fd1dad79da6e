"""Models, losses and loops that would go wrong silently."""

import copy

import pytest
import torch
from torch import nn

import lowland
from lowland.vector import Vector
from rigs import assert_same, momentum, net


def flat(*shapes):
    torch.manual_seed(0)
    return nn.ParameterDict(
        {name: nn.Parameter(torch.randn(shape)) for name, shape in zip("ab", shapes, strict=True)}
    )


def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 1)).double()


def loss_of(model):
    return lambda: model(torch.ones(2, 4, dtype=torch.float64)).pow(2).mean()


@pytest.mark.parametrize("size", [6, 200_000])
def test_parameters_whose_gradients_share_memory_are_restored(size):
    model, distance = flat(size, size), []
    before = copy.deepcopy(model)

    def closure():
        distance.append(sum((model[k] - before[k]).pow(2).sum().item() for k in "ab") ** 0.5)
        return ((model["a"][None] + model["b"][None]) ** 2).mean()

    lowland.SAM(rho=0.5).bind(model).backward(closure)
    assert_same(dict(model.named_parameters()), dict(before.named_parameters()))
    assert distance == pytest.approx([0, 0.5], rel=1e-3)


def test_weights_that_a_pass_moves_elsewhere_are_restored():
    model = linear()
    before = [p.clone() for p in model.parameters()]

    def closure():
        for p in model.parameters():
            p.data = p.data.clone()
        return loss_of(model)()

    lowland.SAM(rho=0.5).bind(model).backward(closure)
    assert_same([p.data for p in model.parameters()], before)


def test_tied_weights_answer_to_all_their_names():
    model = net()
    assert lowland.SAM().bind(model, where="again.weight")._subject.moved == {"mix.weight"}


def test_names_do_not_change_when_a_model_is_compiled():
    model = torch.compile(linear(), backend="eager")
    engine = lowland.SAM().bind(model, where="0.*")
    assert engine._subject.moved == {"0.weight", "0.bias"}


def test_a_copied_engine_counts_the_copied_optimisers_steps():
    model = linear()
    opt = momentum(model)
    model, opt, engine = copy.deepcopy((model, opt, lowland.SAM().bind(model, optimizer=opt)))
    engine.backward(loss_of(model))
    opt.step()
    assert engine.count == 1


def test_a_disabled_scaler_changes_nothing():
    model, calls = linear(), []

    def closure():
        calls.append(1)
        return loss_of(model)() * (float("inf") if len(calls) == 1 else 1.0)

    lowland.SAM().bind(model).backward(closure, scaler=torch.amp.GradScaler("cpu", enabled=False))
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_every_optimiser_under_a_scaler_skips():
    model, scaler, calls = linear(), torch.amp.GradScaler("cpu"), []
    both = [torch.optim.SGD(part.parameters(), lr=0.1) for part in model]
    before = [p.clone() for p in model.parameters()]

    def closure():
        calls.append(1)
        return loss_of(model)() * (float("inf") if len(calls) == 1 else 1.0)

    lowland.SAM().bind(model).backward(closure, scaler=scaler)
    for opt in both:
        scaler.step(opt)
    assert_same(list(model.parameters()), before)


class Keeps(lowland.Method):
    """Returns what it remembers."""

    def direction(self, step):
        g = yield step.gradient()
        step.remember("g", step.recall("g") or g)
        return step.recall("g") or g


def test_memory_is_no_gradient():
    model = linear()
    engine = Keeps().bind(model)
    for _ in range(2):
        model.zero_grad()
        engine.backward(loss_of(model))
        [p.grad.zero_() for p in model.parameters()]
    assert Vector(engine.state_dict()["memory"]["g"]).norm() > 0


def test_a_direction_that_names_a_frozen_parameter_is_added_to_the_others():
    model = linear()
    engine = Keeps().bind(model)
    engine.backward(loss_of(model))
    model[0].bias.requires_grad_(False)
    engine.backward(loss_of(model))
    assert model[0].weight.grad.norm() > 0


class Spends(lowland.Method):
    def direction(self, step):
        g = yield step.gradient()
        step.remember("g", g)
        old = step.recall("g") or Vector()
        return (yield step.gradient(at=lowland.ball(g, 0.1), spend=old))


def changed_head(model):
    lowland.SAM().bind(model)
    engine = lowland.SAM().bind(model)
    model[1] = nn.Linear(3, 1).double()
    engine.backward(loss_of(model))


def loss_once(model):
    loss = loss_of(model)()
    lowland.SAM().bind(model).backward(lambda: loss)


def clears(model):
    opt = momentum(model)
    lowland.SAM().bind(model).backward(lambda: (opt.zero_grad(), loss_of(model)())[1])


def foreign(model):
    scale = nn.Parameter(torch.ones((), dtype=torch.float64))
    lowland.SAM().bind(model).backward(lambda: scale * loss_of(model)())


def hooked(model):
    model[0].weight.register_post_accumulate_grad_hook(lambda p: None)
    lowland.SAM().bind(model)


def frozen(model):
    lowland.SAM().bind(model.requires_grad_(False)).backward(loss_of(model))


def spends_memory(model):
    engine = Spends().bind(model)
    engine.backward(loss_of(model))
    engine.backward(loss_of(model))


def shared(model):
    model[1] = nn.Linear(4, 3).double()
    model[1].weight.data = model[0].weight.data
    lowland.SAM().bind(model)


def sparse(_):
    model = nn.Sequential(nn.Embedding(5, 2, sparse=True), nn.Linear(2, 1))
    lowland.SAM().bind(model).backward(lambda: model(torch.tensor([1])).sum())


class NoDirection(lowland.Method):
    def direction(self, step):
        yield step.gradient()


class YieldsABall(lowland.Method):
    def direction(self, step):
        return (yield lowland.ball(Vector(), 0.1))


class AsksNothing(lowland.Method):
    def direction(self, step):
        yield from ()
        return Vector()


class NoGenerator(lowland.Method):
    def direction(self, step):
        return Vector()


def with_method(method):
    return lambda model: method().bind(model).backward(loss_of(model))


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (
            changed_head,
            RuntimeError,
            "must keep the parameters and modules that it was bound with, got another '1'",
        ),
        (loss_once, RuntimeError, "must compute the loss anew in every pass"),
        (clears, RuntimeError, r"nor clear gradients.*call optimizer.zero_grad\(\) after optimizer.step"),
        (foreign, ValueError, "must depend only on parameters of the bound model, got 1 other"),
        (hooked, ValueError, "no post-accumulate-grad hooks, got one on '0.weight'"),
        (frozen, ValueError, "must have trainable parameters, got all of them frozen"),
        (spends_memory, ValueError, "remembered vector must not be spent"),
        (shared, ValueError, "must not share memory, got '0.weight' and '1.weight'"),
        (sparse, TypeError, "must be dense, got a sparse one for '0.weight'"),
        (lambda _: lowland.SAM().bind(nn.LazyLinear(2)), ValueError, "must be initialised, got 'weight'"),
        (
            lambda _: lowland.SAM().bind(nn.ParameterDict({"a": nn.Parameter(torch.ones(2) * 1j)})),
            TypeError,
            "must be real, got a complex",
        ),
        (lambda m: lowland.SAM().bind(nn.DataParallel(m)), NotImplementedError, "over several processes"),
        (with_method(NoDirection), TypeError, "direction must return a Vector, got NoneType"),
        (with_method(YieldsABall), TypeError, r"direction must yield step.gradient\(...\), got Ball"),
        (with_method(AsksNothing), TypeError, "direction must ask for at least one gradient"),
        (with_method(NoGenerator), TypeError, "direction must be a generator"),
        (lambda m: lowland.SAM().bind(m).load_state_dict({}), ValueError, "got one without calls, count, degrees"),
        (lambda m: lowland.ball(Vector(), -1.0), ValueError, "rho must be a finite number >= 0, got -1"),
        (
            lambda m: lowland.objective(m, nn.functional.mse_loss, {"x": {1, 2}}, torch.ones(2)),
            TypeError,
            "a dict, list or tuple of tensors, got set in it",
        ),
    ],
)
def test_is_refused_by_words_and_leaves_all_as_it_was(act, error, words):
    model = linear()
    before = [p.detach().clone() for p in model[0].parameters()]
    with pytest.raises(error, match=words):
        act(model)
    assert_same([p.detach() for p in model[0].parameters()], before)


def test_inputs_may_need_gradients_and_hear_of_the_first_pass_alone():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    x = torch.rand(5, 1, dtype=torch.float64, requires_grad=True)

    def loss():
        u = model(x)
        (du,) = torch.autograd.grad(u.sum(), x, create_graph=True)
        return (du + u).square().mean()

    loss().backward()
    alone, x.grad = x.grad, None
    model.zero_grad()
    engine = lowland.SAM(rho=0.5).bind(model)
    for _ in range(2):
        engine.backward(loss)
        assert_same(x.grad, alone)
        x.grad = None
