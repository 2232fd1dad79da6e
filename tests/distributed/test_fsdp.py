"""FSDP2: global ascent over shards equals one process with the whole batch; what cannot be right is refused."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard, distribute_tensor

import lowland
from distributed.group import SIZE
from distributed.problem import (
    LOSS,
    METHODS,
    batches,
    half,
    momentum,
    near,
    net,
    replicated,
    same,
    sees_examples,
    train,
    weights,
    whole,
)
from lowland.catalog import build

FITTING = [name for name in METHODS if build("methods", name).sharded]


def sharded(dtype=torch.float64, shape=(SIZE,)):
    model, mesh = net(dtype), init_device_mesh("cpu", shape, mesh_dim_names=("replicate", "shard")[-len(shape) :])
    fully_shard(model.head, mesh=None if len(shape) == 1 else mesh)  # None makes one that is the same
    return fully_shard(model, mesh=mesh)


def trained(rank, names, steps, dtype=torch.float64, shape=(SIZE,)):
    data = half(rank, steps, dtype)
    return {name: train(build("methods", name), sharded(dtype, shape), data) for name in names}


def test_equals_one_process_with_the_whole_batch(group):
    names = [name for name in FITTING if not sees_examples(name)]
    first, second = group(trained, names, 5, torch.float32)
    same(first, second)
    data = list(batches(5, torch.float32))
    near(first, {name: train(build("methods", name), net(torch.float32), data) for name in names}, 1e-6)


def replicas(rank, names, steps):
    data = half(rank, steps)
    return {name: train(build("methods", name), replicated(), data, ascent="global") for name in names}


def test_equals_replicas_that_ascend_together_whatever_the_method_sees(group):
    near(group(trained, FITTING, 2), group(replicas, FITTING, 2), 1e-12)


@pytest.mark.parametrize("shape", [(2, 1), (1, 2)])
def test_a_mesh_that_also_replicates_counts_every_weight_once(group, shape):
    names = ["sam", "asam", "gsam", "random_perturbation"]
    whole = {name: train(build("methods", name), net(), batches(3)) for name in names}
    near(group(trained, names, 3, torch.float64, shape)[0], whole)


@dataclass(frozen=True, kw_only=True)
class Anywhere(lowland.Method):
    """To the edge of any kind of ball."""

    order: float = 2.0
    per: str = "model"

    def direction(self, step):
        g = yield step.gradient()
        at = lowland.ball(g, 0.1, lambda _, w: w.abs() + 0.1, order=self.order, per=self.per)
        return (yield step.gradient(at=at))


def places(model, x, y):
    """Where the weights are in the second pass, and what was watched, for several balls."""
    seen = []

    def closure():
        seen.append(weights(model))
        return LOSS(model(x), y)

    for order, per, where in ((2.0, "tensor", "*t"), (math.inf, "model", "*t"), (3.0, "tensor", "scale")):
        engine = Anywhere(order=order, per=per).bind(model, where=where, radii={"head.*": 0.5}, watch=True)
        engine.backward(closure)
        seen.append({key: engine.telemetry[key] for key in ("length", "cosine", "ascended")})
    return seen


def sharded_places(rank):
    return places(sharded(), *half(rank, 1)[0])


def test_every_kind_of_ball_is_the_same_over_shards(group):
    first, second = group(sharded_places)
    same(first, second)
    near(first, places(net(), *next(batches(1))))


class Looks(lowland.Method):
    """The plain gradient, after a look at the losses elsewhere."""

    def direction(self, step):
        (whole_batch,) = step.shards()
        yield step.losses(whole_batch, at=step.noise())
        return (yield step.gradient())


def after_looks(rank):
    data = half(rank, 3)
    return train(Looks(), sharded(), data), train(lowland.SGD(), sharded(), data)


def test_a_forward_pass_elsewhere_leaves_nothing_behind(group):
    same(*group(after_looks)[0])


def looks_between(rank):
    """The model is called without a backward before binding, and between steps."""
    model, data = sharded(), half(rank, 3)
    opt = momentum(model)
    with torch.no_grad():
        model(data[0][0])
    engine = lowland.SAM().bind(model, optimizer=opt)
    for x, y in data:
        engine.backward(lambda x=x, y=y: LOSS(model(x), y))
        opt.step(), opt.zero_grad()
        with torch.no_grad():
            model(x)
    for module in (model, model.head):
        module.reshard()
    return weights(model)


def test_forward_passes_between_steps_do_not_matter(group):
    same(group(looks_between)[0], group(trained, ["sam"], 3)[0]["sam"])


def accumulated(rank):
    """Two micro-batches into gradients of zeros, together and one by one."""
    model, opt = sharded(), None
    opt = momentum(model)
    engine = lowland.SAM().bind(model, optimizer=opt)
    for p in opt.param_groups[0]["params"]:
        p.grad = torch.zeros_like(p)
    closures = [lambda x=x, y=y: LOSS(model(x), y) / 2 for x, y in half(rank, 2)]
    for closure in closures:
        engine.backward(closure)
    engine.backward_many(closures)
    return [whole(p.grad) for p in opt.param_groups[0]["params"]]


def test_gradients_add_up(group):
    model = net()
    engine = lowland.SAM().bind(model)
    closures = [lambda x=x, y=y: LOSS(model(x), y) / 2 for x, y in batches(2)]
    for closure in closures:
        engine.backward(closure)
    engine.backward_many(closures)
    alone = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters() if p.requires_grad]
    near(group(accumulated)[0], alone)


def with_scaler(model, data, bad):
    """Weights and scales of three steps with a method that remembers; the second has no finite gradient."""
    opt, scaler = momentum(model), torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=100)
    engine = lowland.FSAM().bind(model, optimizer=opt)
    seen = []
    for at, (x, y) in enumerate(data):
        factors = iter([float("inf") if bad and at == 1 else 1.0, 1.0])
        engine.backward(lambda x=x, y=y, f=factors: next(f) * LOSS(model(x), y), scaler=scaler)
        scaler.step(opt), scaler.update(), opt.zero_grad()
        seen.append((weights(model), scaler.get_scale()))
    return seen


def sharded_with_scaler(rank):
    return with_scaler(sharded(), half(rank, 3), rank == 1)


def test_a_first_gradient_that_is_not_finite_in_one_process_makes_all_skip(group):
    first, second = group(sharded_with_scaler)
    same(first, second)
    same(first[0][0], first[1][0])
    assert [scale for _, scale in first] == [1024, 512, 512]
    near(first, with_scaler(net(), batches(3), True))


def after_exceptions(rank):
    """Raise before, within and after the forward of either pass; then train as if nothing had happened."""
    model, data = sharded(), half(rank, 3)
    opt = momentum(model)
    engine = lowland.SAM().bind(model, optimizer=opt)
    for at in range(2):
        for where in ("before", "within", "after"):
            with pytest.raises(KeyError, match=where):
                engine.backward(failing(model, data[0], at, where))
            assert all(p.grad is None for p in model.parameters())
            same(weights(model), weights(net()))
    for x, y in data:
        engine.backward(lambda x=x, y=y: LOSS(model(x), y))
        opt.step(), opt.zero_grad()
    return weights(model)


def failing(model, batch, at, where):
    calls = []

    def raise_there(*_):
        raise KeyError(where)

    def closure():
        calls.append(1)
        if len(calls) <= at:
            return LOSS(model(batch[0]), batch[1])
        if where == "before":
            raise_there()
        hook = model.norm.register_forward_hook(raise_there) if where == "within" else None
        try:
            model(batch[0])
        finally:
            if hook is not None:
                hook.remove()
        return raise_there()

    return closure


def test_goes_on_after_an_exception(group):
    same(group(after_exceptions)[0], group(trained, ["sam"], 3)[0]["sam"])


def refused_at_binding(rank):
    with pytest.raises(
        NotImplementedError, match="ascent must be 'global' under fully_shard, got 'local': processes"
    ):
        lowland.SAM().bind(sharded(), ascent="local")
    with pytest.raises(NotImplementedError, match="must be sharded, got plain ones such as 'scale': apply"):
        part = net()
        fully_shard(part.head)
        lowland.SAM().bind(part)
    with pytest.raises(NotImplementedError, match="sharded by fully_shard alone, got a DTensor, 'weight'"):
        lowland.SAM().bind(tensor_parallel())
    with pytest.raises(NotImplementedError, match=r"all on one mesh, got .*: leave out tensor parallelism"):
        lowland.SAM().bind(twice_sharded())
    for name in set(METHODS) - set(FITTING):
        with pytest.raises(
            NotImplementedError, match="must see all weights at once, got a model that fully_shard"
        ):
            build("methods", name).bind(sharded())


def tensor_parallel():
    layer, mesh = nn.Linear(4, 4), init_device_mesh("cpu", (SIZE,))
    layer.weight = nn.Parameter(distribute_tensor(layer.weight.data, mesh, [Shard(0)]))
    return layer


def twice_sharded():
    """One layer over one mesh, one over another."""
    model, mesh = (
        nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)),
        init_device_mesh("cpu", (2, 1), mesh_dim_names="rs"),
    )
    fully_shard(model[0], mesh=mesh["r"])
    return fully_shard(model, mesh=mesh["s"])


def test_what_cannot_be_right_is_refused_at_binding(group):
    group(refused_at_binding)


def refused_in_a_step(rank):
    x, y = half(rank, 1)[0]
    stranger = nn.Parameter(torch.ones(3, dtype=torch.float64))
    for at, (change, error, words) in enumerate(
        (
            (
                lambda m: m.set_reshard_after_backward(False),
                RuntimeError,
                r"got set_reshard_after_backward\(False\): leave",
            ),
            (
                lambda m: m.set_requires_gradient_sync(False),
                RuntimeError,
                r"got none, as set_requires_gradient_sync",
            ),
            (lambda m: None, ValueError, "must depend only on parameters of the bound model, got 1 other"),
        )
    ):
        model = sharded()
        change(model)
        engine = lowland.SAM().bind(model)
        with pytest.raises(error, match=words):
            engine.backward(lambda at=at, model=model: LOSS(model(x) * (stranger if at == 2 else 1), y))
        assert all(p.grad is None for p in model.parameters())
        same(weights(model), weights(net()))


def test_what_cannot_be_right_is_refused_in_a_step(group):
    group(refused_in_a_step)
