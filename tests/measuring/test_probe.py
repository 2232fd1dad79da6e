"""A probe measures when it is due, goes on where it was, and training does not notice."""

import json
import random
from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from lowland.measurements.accuracy import Accuracy
from lowland.measurements.calibration import Calibration
from lowland.measurements.feature_rank import FeatureRank
from lowland.measurements.gradient_noise import GradientNoise
from lowland.measurements.hessian_split import HessianSplit
from lowland.measurements.sharpness import Sharpness
from lowland.measurements.top_eigenvalues import TopEigenvalues
from lowland.measurements.weight_rank import WeightRank
from lowland.measuring.measure import measure
from lowland.measuring.probe import probe
from lowland.train.fit import fit
from lowland.train.recipe import Recipe
from rigs import assert_same
from train.problem import RECIPES, Stopping, assert_same_training, split, trained
from train.problem import batches as epochs
from train.problem import model as image_net

CE = nn.functional.cross_entropy
SEVERAL = [Accuracy(), TopEigenvalues(), WeightRank()]
KEYS = ["step", "name", "site", "value", "stderr", "unit", "settings", "seconds"]


class Net(nn.Sequential):
    """Dropout and batch norm; counts its passes."""

    def __init__(self):
        torch.manual_seed(1)
        super().__init__(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 3))
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


def data(seed=2):
    draw = torch.Generator().manual_seed(seed)
    return [(torch.randn(12, 5, generator=draw), torch.randint(3, (12,), generator=draw)) for _ in range(3)]


def of(model, measurements=SEVERAL, every=4, **how):
    return probe(model, CE, data(), measurements, every, **how)


def noisy(batches):
    """Batches with noise from all random streams."""
    for x, y in batches:
        yield x + 0.1 * torch.randn(()) + 0.1 * random.random() + 0.1 * np.random.rand(), y


def train(model, optimizer, watch=None, steps=12, loader=None):
    """A plain loop; what the probe returned."""
    returned = []
    for i in range(steps):
        x, y = list(noisy(loader or data()))[i % 3]
        CE(model(x), y).backward()
        optimizer.step()
        returned.append(watch and watch.step())
        optimizer.zero_grad()
    return returned


def begun():
    torch.manual_seed(3), random.seed(3), np.random.seed(3)
    model = Net()
    return model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def everything(model):
    return [model.state_dict(), torch.get_rng_state(), random.random(), float(np.random.rand())]


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def steps_in(file):
    return sorted({line["step"] for line in lines(file)})


def without_seconds(found):
    return [{key: value for key, value in line.items() if key != "seconds"} for line in found]


# Training does not notice.


def test_a_plain_loop_ends_in_the_same_bits_with_a_probe_and_without():
    model, optimizer = begun()
    train(model, optimizer)
    plain = everything(model)
    model, optimizer = begun()
    train(model, optimizer, of(model, [*SEVERAL, HessianSplit(probes=2)], every=1))
    assert_same(everything(model), plain)


def test_gradients_not_yet_stepped_on_stay():
    model, _ = begun()
    CE(model(data()[0][0]), data()[0][1]).backward()
    before = [(p.grad, p.grad.clone()) for p in model.parameters()]
    of(model).step(0)
    for p, (grad, copy) in zip(model.parameters(), before, strict=True):
        assert p.grad is grad
        assert torch.equal(grad, copy)


@pytest.mark.parametrize("own", [False, True])
def test_probing_the_loader_that_training_shuffles_by_changes_nothing(own):
    def weights(probed):
        model, optimizer = begun()
        draw = torch.Generator().manual_seed(5) if own else None
        x, y = (torch.cat(part) for part in zip(*data(), strict=True))
        loader = DataLoader(TensorDataset(x, y), batch_size=12, shuffle=True, generator=draw)
        measurements = [Accuracy()] if own else SEVERAL
        train(model, optimizer, probe(model, CE, loader, measurements, 2) if probed else None, loader=loader)
        return everything(model)

    assert_same(weights(True), weights(False))


def test_fit_goes_the_same_way_with_a_probe_and_without(tmp_path):
    name, net = "sam, warm-up, decay", image_net()
    watch = probe(net, CE, [(split().x, split().y)], SEVERAL, every=10, file=tmp_path / "a.jsonl")
    history = fit(net, epochs(), RECIPES[name], progress=False, hooks=[watch])
    assert_same_training((net, history), trained(RECIPES[name]))
    assert steps_in(tmp_path / "a.jsonl") == [14, 21]


# When.


@pytest.mark.parametrize(
    ("counts", "measured"),
    [
        (range(1, 10), [4, 8]),
        (range(10), [0, 4, 8]),
        ([1, 3, 5, 7, 9], [5, 9]),
        ([4, 4, 4, 5], [4]),
        ([3, 30, 31, 32], [30, 32]),
        ([0, 4, 1, 4], [0, 4, 4]),
        ([0, 4, 0, 4], [0, 4, 0, 4]),
    ],
)
def test_measures_where_a_multiple_is_reached(counts, measured, tmp_path):
    with of(Net(), Accuracy(), file=tmp_path / "a.jsonl") as watch:
        due = [count for count in counts if watch.step(count) is not None]
    assert due == measured == [line["step"] for line in lines(tmp_path / "a.jsonl")]


def test_counts_by_itself():
    watch = of(Net(), Accuracy())
    assert [watch.step() is not None for _ in range(8)] == [False, False, False, True] * 2


def test_costs_nothing_in_between_and_one_pass_when_due():
    model = Net()
    watch = of(model, [Accuracy(), Calibration()])
    calls = []
    for _ in range(5):
        watch.step()
        calls.append(model.calls)
    assert calls == [0, 0, 0, 3, 3]


def test_eigenvalues_go_forward_once_from_the_second_time_on():
    model = Net()
    watch = of(model, [TopEigenvalues(), TopEigenvalues(of="gauss_newton")], every=1)
    calls = [model.calls for _ in range(3) if watch.step()]
    assert [later - earlier for earlier, later in pairwise(calls)] == [2 * 3] * 2


def test_eigenvalues_take_three_products_from_the_second_time_on():
    model, optimizer = begun()
    train(model, optimizer, steps=60)  # until batch norm's statistics have settled
    optimizer.param_groups[0]["lr"] = 0.002
    watch = of(model, TopEigenvalues())
    found = [r[0].settings for r in train(model, optimizer, watch, steps=20) if r]
    assert [r["warm"] for r in found] == [False, True, True, True, True]
    assert found[0]["products"] > 3
    assert [r["products"] for r in found[1:]] == [3] * 4


def test_parameters_that_are_frozen_meanwhile_are_no_longer_measured():
    model = Net()
    watch = of(model, TopEigenvalues(), every=1)
    watch.step()
    model[0].requires_grad_(False)
    reading = watch.step()[0]
    assert not reading.settings["warm"]
    assert reading.value == pytest.approx(of(model, TopEigenvalues(), every=1).step()[0].value)


# What is written.


def test_every_line_says_what_when_where_and_how_long(tmp_path):
    model = Net()
    found = of(model, file=tmp_path / "new" / "a.jsonl").step(0)
    written = lines(tmp_path / "new" / "a.jsonl")
    assert all(list(line) == KEYS and line["step"] == 0 and line["seconds"] > 0 for line in written)
    told = [(r.name, r.site, r.value, r.stderr, r.unit, dict(r.settings)) for r in found]
    assert [tuple(line[key] for key in KEYS[1:-1]) for line in written] == told
    assert [r.name for r in found][:2] == ["accuracy", "hessian_lambda_max"]


def test_splits_are_measured_by_name(tmp_path):
    watch = probe(Net(), CE, {"train": data(), "test": data(9)}, SEVERAL[:2], file=tmp_path / "a.jsonl")
    watch.step(0)
    found = [(line["name"], line["settings"]["split"]) for line in lines(tmp_path / "a.jsonl")]
    names = ("accuracy", "hessian_lambda_max")
    assert found == [(name, where) for name in names for where in ("train", "test")]


def test_a_second_run_appends(tmp_path):
    for _ in range(2):
        of(Net(), Accuracy(), file=tmp_path / "a.jsonl").step(0)
    assert [line["step"] for line in lines(tmp_path / "a.jsonl")] == [0, 0]


# Going on.


def test_a_resumed_run_has_the_lines_of_one_that_was_not_interrupted(tmp_path):
    model, optimizer = begun()
    train(model, optimizer, of(model, file=tmp_path / "whole"), steps=18)
    model, optimizer = begun()
    watch = of(model, file=tmp_path / "cut")
    train(model, optimizer, watch, steps=9)
    torch.save([model.state_dict(), optimizer.state_dict(), watch.state_dict()], tmp_path / "state")
    streams = torch.get_rng_state(), random.getstate(), np.random.get_state()
    train(model, optimizer, watch, steps=6)
    with (tmp_path / "cut").open("a") as file:
        file.write('{"step": 16, "name": "accu')  # killed

    model, optimizer = begun()
    watch = of(model, file=tmp_path / "cut")
    for part, state in zip((model, optimizer, watch), torch.load(tmp_path / "state"), strict=True):
        part.load_state_dict(state)
    torch.set_rng_state(streams[0]), random.setstate(streams[1]), np.random.set_state(streams[2])
    train(model, optimizer, watch, steps=9)
    assert steps_in(tmp_path / "cut") == [4, 8, 12, 16]
    assert without_seconds(lines(tmp_path / "cut")) == without_seconds(lines(tmp_path / "whole"))


def test_going_on_leaves_the_lines_of_an_earlier_run(tmp_path):
    of(Net(), Accuracy(), file=tmp_path / "a").step(40)
    watch = of(Net(), Accuracy(), file=tmp_path / "a")
    watch.step(4), watch.step(8)
    watch.rewind(4)
    watch.step(8)
    assert [line["step"] for line in lines(tmp_path / "a")] == [40, 4, 8]


def test_fit_that_was_killed_goes_on_without_repeating(tmp_path):
    def run(name, source):
        net = image_net()
        watch = probe(net, CE, [(split().x, split().y)], Accuracy(), every=10, file=tmp_path / f"{name}.jsonl")
        recipe, keep = Recipe(epochs=4), tmp_path / name
        fit(net, source, recipe, progress=False, hooks=[watch], keep=keep)

    run("whole", epochs())
    with pytest.raises(KeyboardInterrupt):
        run("cut", Stopping(15))
    with (tmp_path / "cut.jsonl").open("a") as file:
        file.write('{"step": 21}\n')  # as if killed after the measurement and before the checkpoint
    run("cut", epochs())
    found, whole = lines(tmp_path / "cut.jsonl"), lines(tmp_path / "whole.jsonl")
    assert without_seconds(found) == without_seconds(whole)
    assert steps_in(tmp_path / "cut.jsonl") == [14, 21]


# TensorBoard.


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed")
@pytest.mark.parametrize("given", ["folder", "writer"])
def test_tensorboard_shows_the_values_by_name_and_site(given, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    where = tmp_path if given == "folder" else SummaryWriter(str(tmp_path))
    with of(Net(), [Accuracy(), WeightRank()], tensorboard=where) as watch:
        found = [watch.step(0), watch.step(4)]
    events = EventAccumulator(str(tmp_path)).Reload()
    shown = [(event.step, event.value) for event in events.Scalars("accuracy")]
    assert shown == [(step, pytest.approx(r[0].value)) for step, r in zip((0, 4), found, strict=True)]
    assert {"/".join((r.name, r.site)).rstrip("/") for r in found[0]} == set(events.Tags()["scalars"])


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_tensorboard_tells_splits_and_radii_apart(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    data_of = {"train": data(), "test": data(9)}
    with probe(Net(), CE, data_of, [Accuracy(), Sharpness(rho=(0.1, 0.2))], tensorboard=tmp_path) as watch:
        found = watch.step(0)
    tags = EventAccumulator(str(tmp_path)).Reload().Tags()["scalars"]
    assert len(tags) == len(found)
    assert {"accuracy/train", "accuracy/test", "sharpness/test", "sharpness/test/2"} <= set(tags)


@pytest.mark.skipif(find_spec("tensorboard") is not None, reason="tensorboard is installed")
def test_tensorboard_that_is_missing_is_asked_for_by_words(tmp_path):
    with pytest.raises(
        ImportError, match=r"tensorboard= needs the package .*pip install 'lowland\[tensorboard\]'"
    ):
        of(Net(), tensorboard=tmp_path)


# What is refused.


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"every": 0}, ValueError, r"every must be at least 1, got 0"),
        ({"every": 2.0}, TypeError, r"every must be a whole number, got 2.0"),
        ({"file": "."}, ValueError, r"file must be a file's path, got the folder \.: name a file in it"),
        ({"measurements": Accuracy}, TypeError, r"must be made, as Accuracy\(\), or named, got 'Accuracy'"),
        ({"measurements": ["acuracy"]}, LookupError, r"acuracy.*accuracy"),
        ({"measurements": Accuracy(on="test")}, LookupError, r"needs the splits 'test', got 'data'"),
        ({"measurements": TopEigenvalues(on="test")}, LookupError, r"needs the splits 'test', got 'data'"),
        ({"measurements": TopEigenvalues(), "params": "0.wieght"}, LookupError, r"no parameter called '0.wieght'"),
        ({"measurements": FeatureRank(layers="nope")}, LookupError, r"no layer called 'nope'"),
        ({"measurements": WeightRank(layers=("0", "nope"))}, LookupError, r"no layer called 'nope'"),
        ({"memory": "much"}, ValueError, r"memory must be a size such as '2 GB' .*got 'much'"),
        ({"data": iter(data())}, TypeError, r"passed over again and again, got list_iterator for 'data': pass a"),
        ({"data": 3}, TypeError, r"passed over again and again, got int for 'data'"),
        ({"model": "net"}, TypeError, r"model must be a torch.nn.Module, got str"),
    ],
)
def test_is_refused_at_the_door_by_words(how, error, words):
    given = {"model": Net(), "loss": CE, "data": data(), "measurements": Accuracy(), **how}
    with pytest.raises(error, match=words):
        probe(**given)


@pytest.mark.parametrize(("count", "error"), [(-1, ValueError), (1.5, TypeError)])
def test_counts_that_are_none_are_refused_by_words(count, error):
    with pytest.raises(error, match=r"count must be"):
        of(Net()).step(count)


def test_a_file_of_something_else_is_refused_by_words(tmp_path):
    (tmp_path / "a").write_text("accuracy 0.5\n")
    with pytest.raises(
        ValueError, match=r"a must hold a probe's lines only, got 'accuracy 0.5': name another file"
    ):
        of(Net(), file=tmp_path / "a").rewind(4)


@pytest.mark.parametrize("shuffled", ["by torch's generator", "by one of its own", "by its sampler's"])
def test_a_loader_that_shuffles_is_measured_in_one_order_whatever_is_drawn_meanwhile(shuffled):
    draw = torch.Generator().manual_seed(5)
    how = {
        "by torch's generator": {"shuffle": True},
        "by one of its own": {"shuffle": True, "generator": draw},
        "by its sampler's": {"sampler": RandomSampler(data()[0][0], generator=draw)},
    }
    loader = DataLoader(TensorDataset(*data()[0]), batch_size=4, **how[shuffled])
    model = Net()
    several = [GradientNoise(), TopEigenvalues(), Sharpness(steps=2), GradientNoise(m=2), Accuracy()]
    measured = measure(model, CE, loader, several)
    watch = probe(model, CE, loader, several[:1] + several[2:], 1)
    first = watch.step()
    next(iter(loader)), torch.rand(3)
    assert watch.step() == first == [r for r in measured if r.name != "hessian_lambda_max"]
