"""Measurements of all kinds in one call."""

import pytest
import torch
from torch import nn

from lowland.measurements.accuracy import Accuracy
from lowland.measurements.hessian_split import HessianSplit
from lowland.measurements.sharpness import Sharpness
from lowland.measurements.top_eigenvalues import TopEigenvalues
from lowland.measurements.weight_rank import WeightRank
from lowland.measuring.measure import measure


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()


def batches(n):
    draw = torch.Generator().manual_seed(n)
    return [(torch.randn(n, 3, generator=draw).double(), torch.randint(2, (n,), generator=draw))]


CE = nn.functional.cross_entropy


def test_readings_come_in_the_order_of_the_measurements_then_of_the_splits(model):
    kinds = [Sharpness(steps=2, restarts=0), Accuracy(), WeightRank(), HessianSplit(on="b", probes=2)]
    found = measure(model, CE, {"a": batches(8), "b": batches(6)}, kinds)
    order = list(dict.fromkeys((r.name, r.settings.get("split")) for r in found))
    assert order[:4] == [("sharpness", "a"), ("sharpness", "b"), ("accuracy", "a"), ("accuracy", "b")]
    assert found[-1].settings["split"] == "b"
    alone = [r for kind in kinds for r in measure(model, CE, {"a": batches(8), "b": batches(6)}, kind)]
    assert [r.value for r in found] == pytest.approx([r.value for r in alone])


def test_what_is_done_next_is_told(model):
    said = []
    measure(model, CE, batches(5), [Accuracy(), Sharpness(steps=2)], watch=said.append)
    assert said == ["one pass over the data", "Sharpness on data"]


def test_a_loss_is_asked_for_only_where_it_is_needed(model):
    assert measure(model, None, batches(5), Accuracy())
    with pytest.raises(TypeError, match="pass loss="):
        measure(model, None, batches(5), Sharpness())


def test_parameters_may_be_chosen(model):
    all_of_it, head = (
        measure(model, CE, batches(9), HessianSplit(probes=2), params=params)[0].value for params in ("all", "2.*")
    )
    assert head <= all_of_it + 1e-9


def test_a_name_stands_for_what_is_made(model):
    made = measure(model, CE, batches(5), [Accuracy(), Sharpness(rho=0.2, steps=2)])
    assert measure(model, CE, batches(5), ["accuracy", "sharpness:rho=0.2,steps=2"]) == made
    assert measure(model, CE, batches(5), "accuracy") == made[:1]
    with pytest.raises(LookupError, match=r"sharpnes\b.*sharpness"):
        measure(model, CE, batches(5), "sharpnes")


def test_a_loss_whose_mean_depends_on_the_batches_is_warned_of(model):
    x, y = batches(12)[0]
    weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0]).double())
    with pytest.warns(UserWarning, match="got a loss that weighs or couples the examples"):
        measure(model, weighted, list(zip(x.split(6), y.split(6), strict=True)), TopEigenvalues())
    measure(model, weighted, [(x, y)], TopEigenvalues())
    measure(model, CE, list(zip(x.split(6), y.split(6), strict=True)), TopEigenvalues())


def test_what_cannot_be_measured_is_refused_by_words(model):
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module, got NoneType"):
        measure(None, CE, batches(5), "accuracy")
    with pytest.raises(ValueError, match="must hold at least one split for measurements that read data"):
        measure(model, CE, {}, "accuracy")
