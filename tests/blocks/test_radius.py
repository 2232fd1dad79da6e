from types import SimpleNamespace

import pytest
import torch
from torch import nn

import lowland
from lowland.engine.around import Around
from lowland.engine.step import Step


def at(count, rate=None):
    around = SimpleNamespace(learning_rate=lambda: rate) if rate is not None else Around({})
    return Step(count, (), around)


def test_cosine_starts_ends_and_stays():
    rho = lowland.Cosine(0.2, 0.1, steps=10)
    assert [rho(at(t)) for t in (0, 5, 10, 99)] == pytest.approx([0.2, 0.15, 0.1, 0.1])


def test_warm_up_is_a_line_into_a_number_or_a_schedule():
    assert [lowland.WarmUp(0.2, 4)(at(t)) for t in (0, 1, 4, 9)] == pytest.approx([0, 0.05, 0.2, 0.2])
    into = lowland.WarmUp(lowland.Cosine(0.2, 0.0, steps=8), 4)
    assert [into(at(t)) for t in (0, 4, 8)] == pytest.approx([0, 0.1, 0])


def test_proportional_follows_the_learning_rate():
    rho = lowland.ProportionalToLearningRate(high=0.4, rate_high=1.0, low=0.2)
    assert [rho(at(0, rate)) for rate in (1.0, 0.5, 0.0)] == pytest.approx([0.4, 0.3, 0.2])
    assert rho(at(0, torch.tensor(0.5))).item() == pytest.approx(0.3)


def test_the_engine_reads_the_bound_optimisers_rate():
    model = nn.Linear(2, 1)
    opt = torch.optim.SGD(model.parameters(), lr=0.5)
    method = lowland.SAM(rho=lowland.ProportionalToLearningRate(high=0.4, rate_high=1.0))
    engine = method.bind(model, optimizer=opt, watch=True)
    weights = []
    engine.backward(lambda: (weights.append(model.weight.detach().clone()), model(torch.ones(1, 2)).sum())[1])
    offset = torch.cat([(weights[1] - weights[0]).flatten()]).norm().item()
    assert offset == pytest.approx(0.2 * (2 / 3) ** 0.5, rel=1e-5)


def test_bad_schedules_are_refused_by_words():
    with pytest.raises(RuntimeError, match=r"bind\(model, optimizer=optimizer\)"):
        lowland.ProportionalToLearningRate(high=0.1, rate_high=1.0)(at(0))
    with pytest.raises(ValueError, match=r"rate_high must be above rate_low, got 0.1 and 0.1"):
        lowland.ProportionalToLearningRate(high=0.1, rate_high=0.1, rate_low=0.1)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        lowland.Cosine(0.1, 0.0, steps=0)
    with pytest.raises(ValueError, match=r"start must be a finite number >= 0, got -1"):
        lowland.Cosine(-1, 0.0, steps=3)
