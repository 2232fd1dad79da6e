"""Averages are what they are called, and lending them to the model leaves no trace."""

import copy

import pytest
import torch
from torch import nn
from torch.optim import swa_utils

from lowland.penalties.debiased_ema import DebiasedEMA
from lowland.penalties.ema import EMA
from lowland.penalties.swa import SWA
from references import penalties as ref
from rigs import assert_same, everything

RULES = {
    "swa": (SWA, lambda path: ref.equal_average(path)),
    "ema": (lambda **when: EMA(decay=0.8, **when), lambda path: ref.moving_average(path, 0.8)),
    "debiased": (lambda **when: DebiasedEMA(decay=0.8, **when), lambda path: ref.weighed_average(path, 0.8)),
}


def net(dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.3), nn.ReLU(), nn.Linear(6, 2)).to(dtype)


def batches(dtype=torch.float64):
    draw = torch.Generator().manual_seed(1)
    return [(torch.randn(8, 4, generator=draw).to(dtype), torch.zeros(8)) for _ in range(4)]


def train(penalty, steps=20, model=None, watch=lambda model: None):
    """A model trained with a rule bound; ``watch`` looks at it after every step."""
    model = model or net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    average = penalty.bind(model, optimizer)
    for x, _ in (batches(next(model.parameters()).dtype) * steps)[:steps]:
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        watch(model)
    return model, optimizer, average


@pytest.mark.parametrize("when", [{}, {"start": 6, "every": 4}, {"every": 7}])
@pytest.mark.parametrize("name", RULES)
def test_is_the_average_of_the_weights_along_the_way(name, when):
    rule, expected = RULES[name]
    path = []
    _, _, average = train(rule(**when), watch=lambda model: path.append(model[0].weight.detach().clone()))
    start, every = when.get("start", 0), when.get("every", 1)
    chosen = [w for t, w in enumerate(path, start=1) if t >= start and (t - start) % every == 0]
    assert average.additions == len(chosen) > 1
    torch.testing.assert_close(average.averages["0.weight"], expected(chosen), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("rule", "function"),
    [(SWA(), swa_utils.get_swa_multi_avg_fn()), (EMA(decay=0.9), swa_utils.get_ema_multi_avg_fn(0.9))],
    ids=["swa", "ema"],
)
def test_is_bit_for_bit_what_pytorch_averages(rule, function):
    model = net(torch.float32)
    theirs = swa_utils.AveragedModel(model, multi_avg_fn=function)
    _, _, ours = train(rule, model=model, watch=theirs.update_parameters)
    assert_same(list(ours.averages.values()), list(theirs.module.parameters()))


def test_half_precision_weights_are_averaged_in_single_precision():
    model = nn.Linear(1, 1, bias=False, dtype=torch.bfloat16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    average = EMA(decay=0.999).bind(model, optimizer)
    nn.init.zeros_(model.weight)
    optimizer.step()
    nn.init.ones_(model.weight)
    for _ in range(100):
        optimizer.step()
    torch.testing.assert_close(average.averages["weight"], torch.tensor([[1 - 0.999**100]]))
    with average.averaged():
        assert model.weight.dtype == torch.bfloat16


def test_a_step_that_a_scaler_skips_on_the_device_is_not_counted():
    seen = []
    for factors in ([1, 1, 1], [float("inf"), 1, float("inf"), 1, 1]):
        model = nn.Linear(3, 2)
        nn.init.ones_(model.weight), nn.init.ones_(model.bias)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
        average, scaler = SWA().bind(model, optimizer), torch.amp.GradScaler("cpu", init_scale=4.0)
        for factor in factors:
            scaler.scale(factor * model(torch.ones(1, 3)).square().sum()).backward()
            scaler.step(optimizer), scaler.update(), optimizer.zero_grad()
        assert average.additions == 3
        seen.append(average.averages)
    torch.testing.assert_close(*seen, rtol=1e-6, atol=0)


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_the_model_is_as_before_after_it_held_the_averages(error):
    model, _, average = train(SWA())
    before = everything(model)
    try:
        with average.averaged() as same:
            assert same is model
            assert_same(list(model.parameters()), [average.averages[n] for n, _ in model.named_parameters()])
            average.update_batch_norm(batches())
            nn.init.zeros_(model[4].weight)
            if error:
                raise error
    except KeyboardInterrupt:
        pass
    assert_same(everything(model), before)


def test_batch_norm_statistics_are_those_of_the_averaged_weights():
    model, _, average = train(SWA())
    with average.averaged():
        expected = copy.deepcopy(model)
        swa_utils.update_bn(batches(), expected)
        average.update_batch_norm(batches())
        assert_same(dict(model.named_buffers()), dict(expected.named_buffers()))


@pytest.mark.parametrize("broken", [False, True])
def test_estimating_statistics_leaves_modes_momenta_and_random_state(broken):
    model, _, average = train(SWA())
    model[2].eval()
    before = [everything(model)[key] for key in ("modes", "random")]
    with average.averaged():
        try:
            average.update_batch_norm([*batches(), (torch.ones(2, 3), None)] if broken else batches())
        except RuntimeError:
            assert broken
        assert model[1].momentum == 0.1
        assert_same([everything(model)[key] for key in ("modes", "random")], before)


def test_without_batch_norm_no_pass_is_taken():
    model = nn.Linear(4, 2).double()
    _, _, average = train(SWA(), model=model)
    with average.averaged():
        average.update_batch_norm(iter([None]))


def test_weights_that_another_optimizer_trains_are_not_averaged():
    model = net()
    optimizer = torch.optim.SGD(model[4].parameters(), lr=0.1)
    average = SWA().bind(model, optimizer)
    optimizer.step()
    assert sorted(average.averages) == ["4.bias", "4.weight"]


def test_misuse_is_refused_by_words():
    _, _, average = train(SWA(start=30))
    with pytest.raises(RuntimeError, match=r"got none so far: the first come after 30 .* there were 20"):
        average.averaged().__enter__()
    with pytest.raises(RuntimeError, match=r"must be called inside averaged\(\)"):
        average.update_batch_norm(batches())
    _, optimizer, average = train(SWA())
    with average.averaged():
        with pytest.raises(RuntimeError, match=r"averaged\(\) must not be entered twice"):
            average.averaged().__enter__()
        with pytest.raises(RuntimeError, match=r"must not step inside averaged\(\)"):
            optimizer.step()


def test_a_state_that_does_not_fit_is_refused_by_words():
    _, _, average = train(SWA())
    state = {**average.state_dict(), "averages": {"1.weight": torch.zeros(3), "new": torch.zeros(1)}}
    with pytest.raises(ValueError, match=r"must fit the model, got one that differs in 0.bias, .*1.weight.*, new"):
        average.load_state_dict(state)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: SWA(every=0), "every must be at least 1, got 0"),
        (lambda: SWA(start=-1), "start must be at least 0, got -1"),
        (lambda: EMA(decay=1.5), r"decay must be in \[0, 1\], got 1.5"),
        (lambda: DebiasedEMA(decay=1.0), r"decay must be in \[0, 1\), got 1.0"),
    ],
)
def test_wrong_settings_are_refused_by_words(build, words):
    with pytest.raises(ValueError, match=words):
        build()
