from dataclasses import dataclass, field
from typing import ClassVar

import pytest
import torch
from torch import nn

from lowland.measuring.measure import measure
from lowland.observe.measurement import Measurement, WeightMeasurement
from lowland.observe.reading import Reading


@dataclass(frozen=True, kw_only=True)
class Count(Measurement):
    """How many examples each layer answered to, and with what shape."""

    FEATURES: ClassVar[bool] = True
    layers: str | tuple[str, ...] | None = None

    def start(self, splits):
        return CountTally()


@dataclass(frozen=True, kw_only=True)
class CountOutputs(Measurement):
    def start(self, splits):
        return CountTally()


@dataclass(frozen=True, kw_only=True)
class CountWeights(WeightMeasurement):
    def read(self, model):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        return [Reading(name="weights", value=sum(p.numel() for p in model.parameters()))]


@dataclass
class CountTally:
    seen: dict = field(default_factory=dict)

    def update(self, batch):
        self.seen[batch.site] = self.seen.get(batch.site, 0) + len(batch.values)

    def finish(self):
        return [Reading(name="count", site=site, value=n) for site, n in self.seen.items()]


class Counted(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.act, self.head = nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)
        self.passes = []

    def forward(self, x):
        self.passes.append(len(x))
        hidden = self.act(self.body(x))
        if x.sum() > 1000:
            hidden = self.act(hidden)
        return {"logits": self.head(hidden), "aux": None}


class Silent(nn.Module):
    def __init__(self):
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x):
        self.act(x)


def batches(*sizes, scale=1.0):
    return [(scale * torch.randn(n, 3), torch.zeros(n, dtype=torch.int64)) for n in sizes]


def found(model, data, measurements):
    return {(r.settings["split"], r.site): r.value for r in measure(model, None, data, measurements)}


def test_however_much_is_measured_there_is_one_forward_pass_per_split():
    model = Counted()
    measure(model, None, {"a": batches(4, 2), "b": batches(3)}, [Count(), Count(layers="act"), CountOutputs()])
    assert model.passes == [4, 2, 3]


def test_splits_that_nobody_reads_are_not_passed_over():
    model = Counted()
    measure(model, None, {"a": batches(4), "b": batches(3)}, [Count(on="b")])
    assert model.passes == [3]


def test_measurements_of_weights_need_no_data_and_keep_their_place_among_the_others():
    model = Counted()
    before = model.body.weight.clone()
    found = measure(
        model, None, {"a": batches(4), "b": batches(3)}, [CountOutputs(), CountWeights(), CountOutputs(on="b")]
    )
    assert [(r.name, r.settings.get("split")) for r in found] == [
        ("count", "a"),
        ("count", "b"),
        ("weights", None),
        ("count", "b"),
    ]
    assert model.passes == [4, 3]
    assert measure(model, None, {}, CountWeights()) == measure(model, None, [], [CountWeights()]) == [found[2]]
    torch.testing.assert_close(model.body.weight, before, rtol=0, atol=0)


@pytest.mark.parametrize("wrong", [Count, [Count()], 3])
def test_what_is_no_measurement_is_refused_by_words(wrong):
    with pytest.raises(TypeError, match=r"measurements must be made, as Accuracy\(\), or named, got"):
        measure(Counted(), None, batches(4), [wrong])
    with pytest.raises(TypeError, match=r"measurements must be made, as Accuracy\(\), or named, got 'Count'"):
        measure(Counted(), None, batches(4), Count)


def test_layers_that_answer_with_whole_numbers_are_left_out_by_default_and_refused_by_name():
    class Ids(nn.Module):
        def __init__(self):
            super().__init__()
            self.ids, self.head = nn.ReLU(), nn.Linear(3, 2)

        def forward(self, x):
            self.ids(x.long())
            return self.head(x)

    assert set(found(Ids(), batches(4), Count())) == {("data", "head")}
    with pytest.raises(ValueError, match=r"Layer 'ids' must answer with floating-point features, got torch.int64"):
        measure(Ids(), None, batches(4), Count(layers="ids"))


def test_reads_default_layers_or_those_named():
    data = batches(4, 2)
    assert found(Counted(), data, Count()) == {("data", s): 6 for s in ("body", "act", "head")}
    assert found(Counted(), data, Count(layers="act")) == {("data", "act"): 6}
    assert found(Counted(), data, CountOutputs()) == {("data", ""): 6}


def test_a_layer_that_runs_twice_has_two_sites():
    data = batches(4, scale=0.0)
    data[0][0].fill_(500.0)
    assert set(found(Counted(), data, Count(layers=("act",)))) == {("data", "act"), ("data", "act#2")}
    assert set(found(Counted(), data, Count(layers=("act#2",)))) == {("data", "act#2")}


def test_a_layer_that_runs_for_some_batches_only_is_refused_by_words():
    data = [*batches(4), (torch.full((4, 3), 500.0), torch.zeros(4))]
    with pytest.raises(ValueError, match=r"Layer 'act#2' must run for every batch.*layers="):
        measure(Counted(), None, data, Count())


def test_runs_in_eval_mode_and_leaves_the_modes_alone():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Dropout())
    before = model[1].running_mean.clone()
    measure(model, None, batches(4), CountOutputs())
    torch.testing.assert_close(model[1].running_mean, before, rtol=0, atol=0)
    assert all(m.training for m in model.modules())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_models_of_every_precision_are_measured(dtype):
    assert found(Counted().to(dtype), batches(4), [Count()])["data", "act"] == 4


def test_token_ids_are_measured():
    model = nn.Sequential(nn.Embedding(7, 4), nn.TransformerEncoderLayer(4, 2, 8, batch_first=True))
    data = [(torch.randint(7, (5, 3)), torch.zeros(5))]
    assert {"0", "1.linear1", "1.norm2"} <= {site for _, site in found(model, data, Count())}


def test_default_layers_without_a_row_per_example_are_left_out_but_named_ones_are_refused():
    model = nn.Sequential(nn.Unflatten(1, (1, 3)), nn.Flatten(0, 1), nn.Unflatten(0, (1, -1)), nn.Linear(3, 2))
    assert found(model, batches(4), Count()) == {}
    with pytest.raises(
        ValueError, match=r"Layer '3' must answer with one row for each of the 4 examples.*\(1, 4, 2\)"
    ):
        measure(model, None, batches(4), Count(layers="3"))


def test_an_unknown_layer_is_refused_before_any_pass():
    model = Counted()
    with pytest.raises(LookupError, match=r"no layer called 'atc'. Did you mean act"):
        measure(model, None, batches(4), Count(layers="atc"))
    assert model.passes == []


def test_a_named_layer_that_does_not_run_is_refused_by_words():
    model = Counted()
    model.spare = nn.Linear(2, 2)
    with pytest.raises(LookupError, match=r"Layer 'spare' did not run.*These ran: \(none\)"):
        measure(model, None, batches(4), Count(layers="spare"))
    assert found(model, batches(4), Count())["data", "act"] == 4


@pytest.mark.parametrize("data", [[], batches(0)])
def test_no_example_is_refused_by_words(data):
    with pytest.raises(ValueError, match=r"at least one batch of at least one example, got none in split 'data'"):
        measure(Counted(), None, data, CountOutputs())


@pytest.mark.parametrize("batch", [torch.ones(2), (torch.ones(2),), (torch.ones(2), [0, 1])])
def test_batches_that_are_not_pairs_are_refused_by_words(batch):
    with pytest.raises(TypeError, match=r"must be a pair \(inputs, targets\) with a tensor of targets, got \("):
        measure(Counted(), None, [batch], CountOutputs())


def test_data_that_are_not_batches_are_refused_by_words():
    with pytest.raises(TypeError, match=r"data must be batches.*got int for split 'data'. Pass a list or loader"):
        measure(Counted(), None, 3, CountOutputs())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_features_that_are_not_finite_are_refused_naming_the_layer(value, dtype):
    model = Counted().to(dtype)
    nn.init.constant_(model.body.bias, value)
    with pytest.raises(ValueError, match=r"Layer 'body' must answer with finite numbers, got inf or nan"):
        measure(model, None, batches(4), Count(layers="body"))


def test_half_precision_features_whose_sum_overflows_are_fine():
    model = Counted().half()
    nn.init.constant_(model.body.bias, 6e4)
    assert found(model, batches(64), Count(layers="body")) == {("data", "body"): 64}


def test_outputs_without_a_tensor_do_not_matter_to_a_measurement_of_layers():
    assert found(Silent(), batches(4), Count()) == {("data", "act"): 4}
    with pytest.raises(TypeError, match=r"output of the model must be a tensor.*NoneType"):
        measure(Silent(), None, batches(4), CountOutputs())
