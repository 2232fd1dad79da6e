"""What every measurement of the loss must obey; no measurement is named here."""

import copy
import dataclasses
import inspect
import json
import random
import signal

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lowland import catalog
from lowland.measuring.problem_measurement import ProblemMeasurement
from lowland.operators.problem import problem

KINDS = {name: catalog.load("measurements", name) for name in catalog.names("measurements")}
OF_LOSS = [name for name, kind in KINDS.items() if issubclass(kind, ProblemMeasurement)]
CLASSES = 3


class Net(nn.Module):
    """Convolution, batch norm, dropout, in-place activation, a frozen parameter; ``what`` happens in a pass."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.drop, self.scale = nn.Dropout(0.5), nn.Parameter(torch.ones(64), requires_grad=False)
        self.head = nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, CLASSES))
        self.left, self.what = 0, lambda: None

    def forward(self, x):
        self.left -= 1
        if self.left == 0:
            self.what()
        return self.head(self.scale * self.drop(self.act(self.norm(self.conv(x))).flatten(1)))


def fail():
    raise ArithmeticError("by the model")


def press_ctrl_c():
    signal.raise_signal(signal.SIGINT)


@pytest.fixture(params=OF_LOSS)
def measurement(request):
    return KINDS[request.param]()


@pytest.fixture
def model():
    """A net that has seen some data, with gradients, and modes that differ from module to module."""
    net = Net().double()
    for x, y in data():
        nn.functional.cross_entropy(net(x), y).backward()
    net.norm.eval()
    return net


def data(size=16, order=None):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 1, 6, 6, generator=generator, dtype=torch.float64)
    y = torch.randint(CLASSES, (40,), generator=generator)
    index = (
        torch.arange(40) if order is None else torch.randperm(40, generator=torch.Generator().manual_seed(order))
    )
    return DataLoader(TensorDataset(x[index], y[index]), batch_size=size)


def of(model, **how):
    return problem(model, nn.functional.cross_entropy, data(**how))


def values(readings):
    return {
        (r.name, r.site, r.settings.get("along"), i): (r.value, r.stderr or 0.0) for i, r in enumerate(readings)
    }


def traces(model):
    tensors = [*model.state_dict().values(), *(p.grad for p in model.parameters() if p.grad is not None)]
    addresses = [t.data_ptr() for t in tensors]
    modes = [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
    flags = [(p.requires_grad, p.grad is None) for p in model.parameters()]
    facts = addresses, modes, flags, model.norm.momentum, random.getstate(), str(np.random.get_state())
    return copy.deepcopy(tensors), torch.get_rng_state(), facts


def assert_untouched(model, before):
    after = traces(model)
    for tensor, other in zip([*before[0], before[1]], [*after[0], after[1]], strict=True):
        assert torch.equal(tensor, other)
    assert before[2] == after[2]


def test_is_a_frozen_value_with_defaults(measurement):
    assert measurement == type(measurement)()
    with pytest.raises(dataclasses.FrozenInstanceError):
        measurement.on = "train"


def test_leaves_no_trace(measurement, model):
    p = of(model)
    before = traces(model)
    measurement.read(p)
    assert_untouched(model, before)


@pytest.mark.parametrize(("what", "raised"), [(fail, ArithmeticError), (press_ctrl_c, KeyboardInterrupt)])
@pytest.mark.parametrize("left", [1, 3, 7])
def test_leaves_no_trace_when_it_is_cut_short(measurement, model, what, raised, left):
    p = of(model)
    before = traces(model)
    model.left, model.what = left, what
    with pytest.raises(raised):
        measurement.read(p)
    assert_untouched(model, before)


def test_reads_the_same_where_gradients_are_off(measurement, model):
    readings = measurement.read(of(model))
    with torch.no_grad():
        assert measurement.read(of(model)) == readings


def test_same_seed_same_readings(measurement, model):
    assert measurement.read(of(model)) == measurement.read(of(model))


@pytest.mark.parametrize("how", [{"order": 1}, {"size": 5}, {"size": 1000}])
def test_order_and_size_of_batches_do_not_matter(measurement, model, how):
    one, other = values(measurement.read(of(model))), values(measurement.read(of(model, **how)))
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert other[key] == pytest.approx(value, rel=1e-6, abs=1e-9), key


def test_single_precision_gives_nearly_the_same(measurement, model):
    exact = values(measurement.read(of(model)))
    found = values(measurement.read(of(model.float())))
    for key, value in exact.items():
        assert found[key] == pytest.approx(value, rel=0.02, abs=1e-4), key


def test_readings_are_lines_of_json_that_state_their_fields(measurement, model):
    readings = measurement.read(of(model))
    assert len({json.dumps(r.row(), sort_keys=True) for r in readings}) == len(readings)
    for reading in readings:
        row = json.loads(json.dumps(reading.row(), allow_nan=False))
        assert {*measurement.settings(), "examples"} <= row.keys()
        assert reading.stderr is None or reading.stderr >= 0


def test_says_what_it_costs_and_documents_every_field(measurement):
    source = inspect.getsource(type(measurement))
    assert "Cost:" in (type(measurement).__doc__ or "")
    for name in vars(type(measurement)).get("__annotations__", {}):
        after = source.partition(f"\n    {name}: ")[2].partition("\n")[2]
        assert after.lstrip().startswith(('"""', 'r"""')), name


def test_reads_the_splits_that_it_is_told(measurement):
    assert measurement.splits(("train", "test")) == ("train", "test")
    assert dataclasses.replace(measurement, on="test").splits(("train", "test")) == ("test",)
    with pytest.raises(LookupError, match=r"needs the splits 'tset', got 'train', 'test'. Name others with on="):
        dataclasses.replace(measurement, on=("tset",)).splits(("train", "test"))


def test_weights_that_are_not_finite_are_refused_by_words(measurement, model):
    p = of(model)
    nn.init.constant_(model.conv.bias, float("nan"))
    with pytest.raises(ValueError, match=r"finite"):
        measurement.read(p)


def test_a_negative_seed_is_refused_by_words(measurement):
    if not hasattr(measurement, "seed"):
        return
    with pytest.raises(ValueError, match=r"seed must be at least 0, got -1"):
        dataclasses.replace(measurement, seed=-1)
