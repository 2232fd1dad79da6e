"""DistributedDataParallel: local ascent unless global is asked for, and one reduction of the result."""

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

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
    share,
    train,
    weights,
)
from lowland.catalog import build
from lowland.engine import average


def trained(rank, names, steps, ascent=None):
    return {name: train(build("methods", name), replicated(), half(rank, steps), ascent=ascent) for name in names}


def with_every_method(rank):
    model = replicated()
    return [train(build("methods", name), model, half(rank, 200 // len(METHODS) + 1)) for name in METHODS][-1]


def test_replicas_are_bit_equal_after_200_steps(group):
    same(*group(trained, ["sam"], 200))
    same(*group(with_every_method))


def test_global_ascent_equals_one_process_with_the_whole_batch(group):
    fitting = [name for name in METHODS if not sees_examples(name)]
    first, second = group(trained, fitting, 5, "global")
    same(first, second)
    near(first, {name: train(build("methods", name), net(), batches(5)) for name in fitting})


def test_local_ascent_of_sam_is_m_sharpness_with_m_the_local_batch(group):
    near(group(trained, ["sam"], 5)[0]["sam"], train(lowland.MSAM(rho=lowland.SAM().rho, m=4), net(), batches(5)))


def each_by_itself(name, steps):
    """Local ascent spelled out: as many models as processes, whose gradients are averaged after every step."""
    models = [net() for _ in range(SIZE)]
    opts = [momentum(model) for model in models]
    engines = [build("methods", name).bind(model, optimizer=opt) for model, opt in zip(models, opts, strict=True)]
    for x, y in batches(steps):
        for rank, (model, engine) in enumerate(zip(models, engines, strict=True)):
            engine._subject.processes.rank = rank  # chance differs
            engine.backward(lowland.objective(model, LOSS, *share(rank, x, y)))
        for same_one in zip(*(model.parameters() for model in models), strict=True):
            if same_one[0].grad is not None:
                mean = torch.stack([p.grad for p in same_one]).mean(0)
                for p in same_one:
                    p.grad = mean.clone()
        pending = [engine._afterwards._pending for engine in engines]
        if None not in pending:
            for engine in engines:
                engine._afterwards._pending = (1 / SIZE) * sum(pending[1:], pending[0])
        for opt in opts:
            opt.step(), opt.zero_grad()
    return weights(models[0])


def test_local_ascent_averages_what_every_process_would_do_by_itself(group):
    near(group(trained, METHODS, 5)[0], {name: each_by_itself(name, 5) for name in METHODS})


def bytes_of_a_step(rank, ascent):
    model = replicated()
    engine = lowland.SAM().bind(model, ascent=ascent)
    engine.backward(lowland.objective(model, LOSS, *half(rank, 1)[0]))
    return engine.reduced_bytes, sum(p.numel() + 1 for p in model.parameters() if p.requires_grad) * 8


def test_local_ascent_reduces_every_gradient_once_and_global_ascent_twice(group):
    for ascent, times in (("local", 1), ("global", 2)):
        for reduced, gradient in group(bytes_of_a_step, ascent):
            assert reduced == times * gradient


def in_small_buckets(rank):
    average.BUCKET, whole = 100, average.BUCKET
    try:
        return trained(rank, ["sam"], 3)
    finally:
        average.BUCKET = whole


def test_the_size_of_buckets_does_not_matter(group):
    same(group(in_small_buckets), group(trained, ["sam"], 3))


OPTIONS = [{}, {"find_unused_parameters": True}, {"find_unused_parameters": True, "gradient_as_bucket_view": True}]


def accumulated(rank, method, options, ascent=None):
    """Gradients after a micro-batch under no_sync, and after one more outside; ``method`` None is plain DDP."""
    model = replicated(**options)
    engine = None if method is None else method.bind(model, ascent=ascent)
    seen = []
    for cycle in range(2):  # the second after the first's reductions, into gradients of zeros
        for at, (x, y) in enumerate(half(rank, 2)):
            model.require_backward_grad_sync = at == 1
            LOSS(model(x), y).backward() if engine is None else engine.backward(lambda x=x, y=y: LOSS(model(x), y))
            seen.append([None if p.grad is None else p.grad.clone() for p in model.parameters()])
        if cycle == 0:
            model.zero_grad(set_to_none=False)
    return seen


@pytest.mark.parametrize("options", OPTIONS[1:])
def test_the_plain_gradient_is_that_of_the_wrapper_with_no_sync_and_all(group, options):
    for ours, theirs in zip(
        group(accumulated, lowland.SGD(), options), group(accumulated, None, options), strict=True
    ):
        near(ours, theirs, 1e-15)


def test_under_no_sync_nothing_is_reduced_and_afterwards_all_of_it(group):
    first, second = group(accumulated, lowland.SAM(), {})
    for before, after in ((0, 1), (2, 3)):
        assert any(not torch.equal(a, b) for a, b in zip(*_present(first[before], second[before]), strict=True))
        same(first[after], second[after])
    near(first[1], _summed_by_hand())


def _present(*lists):
    return [[g for g in grads if g is not None] for grads in lists]


def _summed_by_hand():
    model = net()
    engine = lowland.SAM().bind(model)
    for rank in range(SIZE):
        for x, y in half(rank, 2):
            engine.backward(lambda x=x, y=y: LOSS(model(x), y))
    return [None if p.grad is None else p.grad / SIZE for p in model.parameters()]


def test_global_ascent_reduces_under_no_sync_as_well(group):
    first, second = group(accumulated, lowland.SAM(), {}, "global")
    same(first, second)


def with_branches(rank):
    """One parameter is used by process 0 alone, one by none."""
    model = nn.ParameterDict({name: nn.Parameter(torch.ones(2)) for name in ("all", "first", "none")})
    wrapper = DistributedDataParallel(_Called(model), find_unused_parameters=True)
    engine = lowland.SAM(rho=0.0).bind(wrapper)
    engine.backward(lambda: wrapper(rank == 0))
    return [None if p.grad is None else p.grad.tolist() for p in model.values()]


class _Called(nn.Module):
    def __init__(self, parameters):
        super().__init__()
        self.parts = parameters

    def forward(self, branch):
        return self.parts["all"].sum() + (3 * self.parts["first"].sum() if branch else 0)


def test_a_gradient_that_one_process_lacks_counts_as_zero_and_one_that_all_lack_stays_none(group):
    assert group(with_branches) == [[[1, 1], [1.5, 1.5], None]] * SIZE


def buffers_of(rank, method):
    torch.manual_seed(1)
    model = DistributedDataParallel(
        nn.Sequential(nn.Flatten(), nn.Linear(9, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)).double()
    )
    opt = torch.optim.SGD(model.parameters(), lr=0.0)
    engine = None if method is None else method.bind(model)
    seen = []
    for at, (x, y) in enumerate(half(rank, 6)):
        model.require_backward_grad_sync = at % 2 == 1
        LOSS(model(x), y).backward() if engine is None else engine.backward(lambda x=x, y=y: LOSS(model(x), y))
        seen.append([b.clone() for b in model.buffers()])
        opt.step(), opt.zero_grad()
    return seen, model.require_forward_param_sync


def test_buffers_are_broadcast_when_the_wrapper_would_and_change_in_the_clean_pass_only(group):
    for ours, theirs in zip(group(buffers_of, lowland.SAM()), group(buffers_of, None), strict=True):
        same(ours, theirs)


def with_scaler(rank):
    model, opt = replicated(torch.float32), None
    opt = momentum(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=100)
    engine = lowland.SAM().bind(model, optimizer=opt)
    seen = []
    for at, (x, y) in enumerate(half(rank, 3, torch.float32)):
        bad = float("inf") if at == 1 and rank == 1 else 1.0
        engine.backward(lambda x=x, y=y, bad=bad: bad * LOSS(model(x), y), scaler=scaler)
        scaler.step(opt), scaler.update(), opt.zero_grad()
        seen.append((weights(model), scaler.get_scale()))
    return seen


def test_a_gradient_that_is_not_finite_in_one_process_makes_all_skip(group):
    first, second = group(with_scaler)
    same(first, second)
    same(first[0][0], first[1][0])
    assert [scale for _, scale in first] == [1024, 512, 512]
    assert not torch.equal(first[1][0]["head.weight"], first[2][0]["head.weight"])


def noise_of(rank, ascent):
    model = replicated()
    offsets = []

    def closure():
        offsets.append(model.module.head.weight.detach().clone())
        return LOSS(model(half(rank, 1)[0][0]), half(rank, 1)[0][1])

    lowland.RandomPerturbation(rho=0.1).bind(model, ascent=ascent).backward(closure)
    return offsets[0]


def test_chance_differs_between_processes_that_ascend_by_themselves(group):
    assert not torch.equal(*group(noise_of, "local"))
    same(*group(noise_of, "global"))


def decoupled(rank, how):
    model = replicated()
    opt = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    engine = lowland.WSAM(decoupled=how).bind(model, optimizer=opt)
    for at, (x, y) in enumerate(half(rank, 4)):
        model.require_backward_grad_sync = at % 2 == 1
        engine.backward(lowland.objective(model, LOSS, x, y))
        if at % 2 == 1:
            opt.step(), opt.zero_grad()
    return weights(model)


def test_what_is_descended_after_the_step_is_averaged_as_well(group):
    first, second = group(decoupled, True)
    same(first, second)
    near(first, group(decoupled, False)[0])


def after_an_exception(rank):
    model = replicated()
    engine, (x, y) = lowland.SAM().bind(model), half(rank, 1)[0]
    before, calls = (model.require_backward_grad_sync, model.require_forward_param_sync), []

    def closure():
        calls.append(1)
        if len(calls) == 2:
            raise KeyError("stop")
        return LOSS(model(x), y)

    with pytest.raises(KeyError, match="stop"):
        engine.backward(closure)
    assert (model.require_backward_grad_sync, model.require_forward_param_sync) == before
    assert engine.reduced_bytes == 0
    same(weights(model), weights(net()))
    assert all(p.grad is None for p in model.parameters())


def test_an_exception_leaves_the_wrapper_as_it_was(group):
    group(after_an_exception)


def refused(rank):
    plain = replicated()
    with pytest.raises(ValueError, match="ascent must be one of local, global, got 'both'"):
        lowland.SAM().bind(plain, ascent="both")
    with pytest.raises(NotImplementedError, match="only average gradients, got one with static_graph=True: leave"):
        lowland.SAM().bind(replicated(static_graph=True))
    with pytest.raises(NotImplementedError, match="DistributedDataParallel here: wrap the whole model, and bind"):
        lowland.SAM().bind(nn.Sequential(plain))
    engine = lowland.SAM().bind(plain)
    plain.register_comm_hook(None, lambda state, bucket: dist.all_reduce(bucket.buffer()))
    with pytest.raises(NotImplementedError, match="only average gradients, got one with a communication hook"):
        engine.backward(lambda: plain(half(rank, 1)[0][0]).sum())


def test_wrappers_that_do_more_are_refused(group):
    group(refused)


def test_a_single_process_checks_the_word_and_ignores_it():
    same(*(train(lowland.SAM(), net(), batches(2), ascent=word) for word in ("local", "global")))
    with pytest.raises(ValueError, match="ascent must be one of local, global, got 'both'"):
        lowland.SAM().bind(net(), ascent="both")
