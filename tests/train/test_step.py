import pytest
import torch
from torch import nn

from lowland.data.batches import Batches
from lowland.train.parts import Parts
from lowland.train.recipe import Recipe
from lowland.train.setup import assemble
from lowland.train.step import take
from lowland.train.tally import Tally
from train.problem import RECIPES, model, split

SIZES = (8, 8, 5)


def linear():
    torch.manual_seed(4)
    return nn.Linear(6, 3, dtype=torch.float64)


def group(sizes=SIZES):
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(sum(SIZES), 6, generator=draw, dtype=torch.float64)
    y = torch.randint(3, (sum(SIZES),), generator=draw)
    return list(zip(x.split(sizes), y.split(sizes), strict=True))


def stepped(sizes, **settings):
    """The weights after one step, and its tally."""
    net, tally = linear(), Tally(torch.device("cpu"))
    recipe = Recipe(schedule="constant", accumulate=len(sizes), **settings)
    take(assemble(net, recipe, Parts(), 1), group(sizes), tally)
    return net.weight.detach(), tally


def gradients(net, criterion=nn.functional.cross_entropy):
    """SAM's gradient of each micro-batch by itself, by the formula."""
    for x, y in group():
        g = torch.autograd.grad(criterion(net(x), y), list(net.parameters()))
        norm = torch.cat([part.flatten() for part in g]).norm()
        moved = [p + 0.05 * part / norm for p, part in zip(net.parameters(), g, strict=True)]
        yield len(y) / sum(SIZES), torch.autograd.grad(criterion(x @ moved[0].T + moved[1], y), moved[0])[0]


@pytest.mark.parametrize("method", ["sgd", "sam:rho=0.1", "gsam"])
def test_micro_batches_together_are_the_whole_batch(method):
    whole, tally = stepped((21,), method=method)
    pieces, tally2 = stepped(SIZES, method=method, ascend="together")
    torch.testing.assert_close(pieces, whole, rtol=1e-9, atol=1e-12)
    assert tally2.loss == pytest.approx(tally.loss)
    assert (tally2.accuracy, tally2.passes) == (tally.accuracy, tally.passes)


def test_the_plain_gradient_of_each_is_that_of_the_whole_batch():
    torch.testing.assert_close(stepped(SIZES)[0], stepped((21,))[0], rtol=1e-9, atol=1e-12)


def test_each_micro_batch_ascends_by_itself_and_counts_by_its_examples():
    net = linear()
    expected = net.weight - 0.1 * sum(share * h for share, h in gradients(net))
    torch.testing.assert_close(stepped(SIZES, method="sam:rho=0.05")[0], expected.detach(), rtol=1e-9, atol=1e-12)


def test_each_is_not_together():
    each, together = (stepped(SIZES, method="sam:rho=0.5", ascend=way)[0] for way in ("each", "together"))
    assert not torch.equal(each, together)


def test_clipping_bounds_the_step_by_the_gradients_norm():
    net = linear()
    moved = stepped((21,), method="sgd", clip=1e-3, momentum=0.0)[0] - net.weight.detach()
    free = stepped((21,), momentum=0.0)[0] - net.weight.detach()
    torch.testing.assert_close(moved / moved.norm(), free / free.norm())
    assert moved.norm() <= 0.1 * 1e-3


@pytest.mark.parametrize("clip", [None, 0.01])
def test_a_scaled_step_is_the_unscaled_one(clip):
    """In float64 with autocast doing nothing, a power of two as scale rounds nothing."""
    net = linear()
    setup = assemble(net, Recipe(method="sam", clip=clip, schedule="constant"), Parts(), 1)
    scaled = setup.__class__(**{**vars(setup), "scaler": torch.amp.GradScaler("cpu")})
    take(scaled, group((21,)), Tally(torch.device("cpu")))
    torch.testing.assert_close(
        net.weight.detach(), stepped((21,), method="sam", clip=clip)[0], rtol=1e-9, atol=1e-12
    )


def test_a_step_whose_gradient_overflows_is_skipped_and_time_goes_on():
    net = linear()
    parts = Parts(criterion=lambda outputs, y: 1e38 * outputs.float().square().mean())
    setup = assemble(net, Recipe(method="sam", amp="fp16"), parts, 4)
    take(setup, group((21,)), Tally(torch.device("cpu")))
    assert torch.equal(net.weight, linear().weight)
    assert setup.scaler.get_scale() == 2.0**15
    assert setup.scheduler.last_epoch == 1


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_mixed_precision_is_near_full_precision(amp):
    full, _ = stepped((21,), method="sam:rho=0.05")
    torch.testing.assert_close(stepped((21,), method="sam:rho=0.05", amp=amp)[0], full, rtol=0.03, atol=0.003)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", RECIPES)
def test_no_step_waits_for_the_device(name):
    source = Batches(split().to("cuda"), 16, seed=0)
    setup, tally = assemble(model().cuda(), RECIPES[name], Parts(), 9), Tally(torch.device("cuda"))
    groups = [list(source.epoch(k))[: RECIPES[name].accumulate] for k in range(3)]
    take(setup, groups[0], tally)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batches in groups[1:]:
            take(setup, batches, tally)
    finally:
        torch.cuda.set_sync_debug_mode("default")
