"""What every measurement of features, outputs or weights must obey; no measurement is named here."""

import copy
import dataclasses
import inspect
import json
import random

import numpy as np
import pytest
import torch
from torch import nn

from lowland import catalog
from lowland.measuring.measure import measure
from lowland.observe.measurement import Measurement, WeightMeasurement

KINDS = {name: catalog.load("measurements", name) for name in catalog.names("measurements")}
STREAMING = [name for name, kind in KINDS.items() if issubclass(kind, Measurement)]
OF_WEIGHTS = [name for name, kind in KINDS.items() if issubclass(kind, WeightMeasurement)]
NAMES = [*STREAMING, *OF_WEIGHTS]
CLASSES = 3
SPLITS = {"train": 40, "test": 30, "bank": 50, "query": 20}


class Net(nn.Module):
    """Convolution, batch norm, dropout, in-place activation, and a count of the passes."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, CLASSES))
        self.passes = []

    def forward(self, x):
        self.passes.append(len(x))
        return self.head(self.drop(self.act(self.norm(self.conv(x))).flatten(1)))


@pytest.fixture(params=STREAMING + OF_WEIGHTS)
def measurement(request):
    return KINDS[request.param]()


@pytest.fixture(params=STREAMING)
def streaming(request):
    return KINDS[request.param]()


@pytest.fixture(params=OF_WEIGHTS)
def of_weights(request):
    return KINDS[request.param]()


@pytest.fixture
def model():
    return Net().double()


def data(size=16, order=None):
    generator = torch.Generator().manual_seed(0)
    return {name: batches(n, size, order, generator) for name, n in SPLITS.items()}


def batches(n, size, order, generator):
    x = torch.randn(n, 1, 6, 6, generator=generator, dtype=torch.float64)
    y = torch.randint(CLASSES, (n,), generator=generator)
    index = torch.arange(n) if order is None else torch.randperm(n, generator=torch.Generator().manual_seed(order))
    return list(zip(x[index].split(size), y[index].split(size), strict=True))


def values(readings):
    keys = [(r.name, r.site, json.dumps(dict(r.settings))) for r in readings]
    assert len(set(keys)) == len(keys)
    return {
        k: torch.tensor([r.value, r.stderr or 0.0], dtype=torch.float64)
        for k, r in zip(keys, readings, strict=True)
    }


def traces(model):
    tensors = [*model.state_dict().values(), *(p.grad for p in model.parameters())]
    modes = [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
    flags = [p.requires_grad for p in model.parameters()]
    return (
        copy.deepcopy(tensors),
        modes,
        flags,
        torch.get_rng_state(),
        random.getstate(),
        str(np.random.get_state()),
    )


def test_is_a_frozen_value_with_defaults(measurement):
    assert isinstance(measurement, Measurement | WeightMeasurement)
    assert measurement == type(measurement)()
    with pytest.raises(dataclasses.FrozenInstanceError):
        measurement.on = "train"


def test_leaves_no_trace(measurement, model):
    model(data()["train"][0][0]).square().sum().backward()
    model.norm.eval()
    before = traces(model)
    measure(model, None, data(), measurement)
    after = traces(model)
    for tensor, other in zip(before[0], after[0], strict=True):
        assert torch.equal(tensor, other)
    assert before[1:3] == after[1:3]
    assert torch.equal(before[3], after[3])
    assert before[4:] == after[4:]


def test_takes_one_pass_over_each_split_it_reads(streaming, model):
    measure(model, None, data(), streaming)
    read = {split for group in streaming.groups(tuple(SPLITS)) for split in group}
    assert sum(model.passes) == sum(n for split, n in SPLITS.items() if split in read)


def test_reads_weights_without_a_pass_and_without_data(of_weights, model):
    found = measure(model, None, data(), of_weights)
    assert model.passes == []
    assert found == measure(model, None, {}, of_weights) == measure(model, None, [], of_weights)
    assert found


def test_same_seed_same_value(measurement, model):
    first, again = (values(measure(model, None, data(), measurement)) for _ in range(2))
    torch.testing.assert_close(first, again, rtol=0, atol=0)


@pytest.mark.parametrize("change", [{"order": 1}, {"size": 1}, {"size": 7}, {"size": 1000}])
def test_order_and_size_of_batches_do_not_matter(measurement, model, change):
    one, other = (
        values(measure(model, None, data(), measurement)),
        values(measure(model, None, data(**change), measurement)),
    )
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_shares_the_pass_with_all_others(measurement, model):
    others = [KINDS[name]() for name in NAMES]
    alone = values(measure(model, None, data(), measurement))
    together = values(measure(model, None, data(), [*others, measurement])[-len(alone) :])
    torch.testing.assert_close(together, alone, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_models_of_every_precision_give_nearly_the_same(measurement, model, dtype):
    exact = {(r.name, r.site) for r in measure(model, None, data(), measurement)}
    found = measure(model.to(dtype), None, data(), measurement)
    assert {(r.name, r.site) for r in found} == exact
    assert all(np.isfinite(r.value) for r in found)


def test_readings_are_lines_of_json_that_state_their_split_unit_and_fields(measurement, model):
    facts = {"split", "examples"} if isinstance(measurement, Measurement) else set()
    for reading in measure(model, None, data(), measurement):
        row = json.loads(json.dumps(reading.row()))
        assert {*measurement.settings(), *facts} - {"levels"} <= {*row, "threshold"}
        assert reading.stderr is None or reading.stderr >= 0


def test_empty_data_are_refused_by_words(streaming, model):
    with pytest.raises(ValueError, match=r"data must hold at least one batch.*got none in split"):
        measure(model, None, {name: [] for name in SPLITS}, streaming)


def test_answers_that_are_not_finite_are_refused_by_words(streaming, model):
    before = traces(model)[1]
    nn.init.constant_(model.conv.bias, float("nan"))
    with pytest.raises(
        ValueError, match=r"(Layer '[a-z.0-9]+'|The model) must answer with finite numbers, got inf or nan"
    ):
        measure(model, None, data(), streaming)
    assert traces(model)[1] == before


def test_weights_that_are_not_finite_are_refused_by_words(of_weights, model):
    for parameter in model.parameters():
        nn.init.constant_(parameter, float("nan"))
    with pytest.raises(
        ValueError, match=r"Weights? 'conv.weight'|'head.0' and 'head.2' must be finite, got inf or nan"
    ):
        measure(model, None, [], of_weights)


@pytest.mark.parametrize("name", [name for name in NAMES if hasattr(KINDS[name](), "layers")])
def test_unknown_layers_are_refused_by_words(name, model):
    with pytest.raises(LookupError, match=r"no layer called 'nrom'. Did you mean norm"):
        measure(model, None, data(), KINDS[name](layers=("nrom", "conv")))


def test_unknown_splits_are_refused_by_words(streaming, model):
    with pytest.raises(LookupError, match=r"needs the splits .*'tset'.*got 'train'"):
        measure(model, None, data(), dataclasses.replace(streaming, on=("tset", "train")))


def test_says_what_it_costs_and_documents_every_field(measurement):
    source = inspect.getsource(type(measurement))
    assert "Cost:" in (type(measurement).__doc__ or "")
    own = set(type(measurement).__annotations__) - set(Measurement.__annotations__) - {"SPLITS", "FEATURES"}
    for name in own:
        after = source.partition(f"\n    {name}: ")[2].partition("\n")[2]
        assert after.lstrip().startswith('"""'), name
