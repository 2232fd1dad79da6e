from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from lowland.experiments.students import THREE_LAYERS, TWO_LAYERS

BOTH = pytest.mark.parametrize("task", [TWO_LAYERS, THREE_LAYERS], ids=["two", "three"])


def drawn(task, replicas):
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(replicas, *w.shape, generator=draw, dtype=w.dtype) for w in task.start(0)]


@BOTH
def test_the_module_answers_as_the_replica(task):
    weights, x = drawn(task, 3), task.data(1)[0]
    expected = task.answers(weights, x.expand(3, -1, -1))[1]
    torch.testing.assert_close(task.network([w[1] for w in weights])(x)[:, 0], expected)


@BOTH
def test_the_module_has_the_layers_and_the_parameters_of_the_replica(task):
    model = task.network(task.start(0))
    assert sum(p.numel() for p in model.parameters()) == sum(w.numel() for w in task.start(0))
    widths = [task.inputs, *task.student, 1]
    linears = [layer for layer in model if isinstance(layer, torch.nn.Linear)]
    assert [(a.in_features, a.out_features) for a in linears] == list(pairwise(widths))
    assert all((layer.bias is not None) == task.biases for layer in linears)


@BOTH
def test_every_unit_of_the_teacher_is_active_on_some_example_so_that_targets_vary(task):
    for seed in range(20):
        _, y, _, fresh = task.data(seed)
        assert y.std() > 0
        assert fresh.std() > 0


@BOTH
def test_the_seed_alone_decides_data_and_start(task):
    for again in (lambda seed: task.data(seed), lambda seed: task.start(seed)):
        torch.testing.assert_close(again(2), again(2), rtol=0, atol=0)
        assert not torch.equal(again(2)[0], again(3)[0])


def test_inputs_are_on_the_sphere_and_two_layers_start_without_answers():
    x = TWO_LAYERS.data(0)[0]
    torch.testing.assert_close(x.norm(dim=1), torch.ones(15, dtype=x.dtype))
    assert not TWO_LAYERS.network(TWO_LAYERS.start(0))(x).any()


def test_weights_of_three_layers_start_with_their_scale_and_biases_within_those_of_pytorch():
    wide = replace(THREE_LAYERS, student=(400, 300))
    for weight in wide.start(0)[:2]:
        fan_in = weight.shape[1] - 1
        assert weight[:, :fan_in].std().item() == pytest.approx(0.8, rel=0.05)
        assert weight[:, fan_in].abs().max().item() == pytest.approx(fan_in**-0.5, rel=0.05)


def test_copies_and_idle_units_are_not_in_use():
    task = replace(TWO_LAYERS, student=(4,))
    inner = torch.tensor([[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]).double()
    x = torch.tensor([[1.0, 1.0], [2.0, -1.0], [3.0, -2.0], [4.0, -1.0]]).double()
    found = task.used(task.network([inner, torch.ones(1, 4).double()]), x)
    assert found == {"layer 1": pytest.approx((1 + 0.25) / 4)}


def test_of_three_layers_both_hidden_ones_are_looked_at():
    x = THREE_LAYERS.data(0)[0]
    assert list(THREE_LAYERS.used(THREE_LAYERS.network(THREE_LAYERS.start(0)), x)) == ["layer 1", "layer 2"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"inputs": 0}, "inputs must be at least 1, got 0"),
        ({"examples": 0}, "examples must be at least 1, got 0"),
        ({"tests": 0}, "tests must be at least 1, got 0"),
        ({"steps": 20}, "steps must be at least 40, got 20"),
        ({"student": (3, 3)}, r"equally many hidden layers.*got \(3,\), \(3, 3\) and \(0.5, 0.0\)"),
        ({"scales": (0.5,)}, "scales one more entry"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        replace(TWO_LAYERS, **wrong)


def test_a_teacher_that_examples_cannot_reach_is_refused_by_words():
    wide = replace(TWO_LAYERS, teacher=(60,), examples=1)
    with pytest.raises(ValueError, match=r"active on some of 1 examples, got \(60,\) and 1000 draws"):
        wide.data(0)
