import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, roc_auc_score
from torch import nn

from lowland.measurements.support import Support, focus_map
from lowland.measuring.measure import measure

SEEDS = st.integers(0, 2**31)
RELEVANT = (0, 1, 2)


def net(W):
    model = nn.Sequential(nn.Flatten(), nn.Linear(W.shape[1], W.shape[0]), nn.ReLU(), nn.Linear(W.shape[0], 2))
    model[1].weight = nn.Parameter(W.clone())
    return model


def numbers(model, **fields):
    return {r.name: r.value for r in measure(model, None, [], Support(**fields))}


def random_weight(seed, h=6, d=8):
    g = torch.Generator().manual_seed(seed)
    scale = torch.rand(d, generator=g, dtype=torch.float64).square()
    return torch.randn(h, d, generator=g, dtype=torch.float64) * scale, g


def test_weights_on_the_relevant_inputs_alone_are_full_support():
    W = torch.zeros(4, 6)
    W[:, :3] = torch.randn(4, 3)
    W[0, :3] += 3.0
    found = numbers(net(W), relevant=RELEVANT)
    assert found == {
        "support_size": 3.0,
        "relevant_norm": pytest.approx(W.norm().item()),
        "irrelevant_norm": 0.0,
        "relevant_mass": 1.0,
        "support_f1": 1.0,
        "support_auroc": 1.0,
    }


def test_equal_columns_know_nothing():
    found = numbers(net(torch.ones(4, 6)), relevant=RELEVANT)
    assert math.isclose(found["relevant_mass"], 0.5)
    assert found["support_auroc"] == 0.5
    assert math.isclose(found["support_f1"], 2 * 3 / (6 + 3))


def test_weights_that_vanish_look_at_nothing():
    found = numbers(net(torch.zeros(4, 6)), relevant=RELEVANT)
    assert (found["support_size"], found["relevant_mass"], found["support_f1"]) == (0.0, 0.0, 0.0)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.floats(0.0, 0.9))
def test_agrees_with_scikit_learn(seed, threshold):
    W, _ = random_weight(seed)
    columns, truth = W.norm(dim=0), torch.arange(8) < 3
    found = numbers(net(W), relevant=RELEVANT, threshold=threshold)
    assert math.isclose(found["support_f1"], f1_score(truth, columns > threshold * columns.max()), rel_tol=1e-9)
    assert math.isclose(found["support_auroc"], roc_auc_score(truth, columns), rel_tol=1e-9)
    assert math.isclose(found["relevant_mass"], (W[:, :3].norm() / W.norm()) ** 2, rel_tol=1e-9)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.floats(1e-3, 1e3))
def test_laws_of_units_inputs_and_scale(seed, scale):
    W, g = random_weight(seed)
    one = numbers(net(W), relevant=RELEVANT)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=g, dtype=torch.float64))[0]
    signs = torch.randint(0, 2, (6, 1), generator=g) * 2 - 1
    inputs = torch.randperm(8, generator=g)
    for other in (turn @ W, signs * W[torch.randperm(6, generator=g)]):
        torch.testing.assert_close(numbers(net(other), relevant=RELEVANT), one, rtol=1e-9, atol=1e-12)
    moved = tuple(i for i in range(8) if inputs[i] in RELEVANT)
    torch.testing.assert_close(numbers(net(W[:, inputs]), relevant=moved), one, rtol=1e-9, atol=1e-12)
    scaled = numbers(net(scale * W), relevant=RELEVANT)
    assert math.isclose(scaled["irrelevant_norm"], scale * one["irrelevant_norm"], rel_tol=1e-9)
    assert math.isclose(scaled["relevant_mass"], one["relevant_mass"], rel_tol=1e-9)


def test_a_mask_says_the_same_as_indices():
    W, _ = random_weight(0)
    mask = torch.arange(8) < 3
    assert numbers(net(W), relevant=tuple(mask.tolist())) == numbers(net(W), relevant=(2, 0, 1))


def test_without_knowing_the_relevant_inputs_those_in_use_are_counted():
    W = torch.tensor([[3.0, 0.0, 0.2, 1.0]])
    assert numbers(net(W)) == {"support_size": 2.0}
    assert numbers(net(W), threshold=0.05) == {"support_size": 3.0}


def test_all_inputs_relevant_have_no_ranking():
    assert "support_auroc" not in numbers(net(torch.ones(2, 3)), relevant=RELEVANT)


def test_the_inputs_of_a_convolution_are_its_taps():
    model = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(), nn.Linear(3, 2))
    with torch.no_grad():
        model[0].weight.zero_()[:, 1, 0, 1] = 2.0
    found = measure(model, None, [], Support(relevant=(5,)))
    assert {r.site for r in found} == {"0.weight"}
    assert {r.name: r.value for r in found}["support_f1"] == 1.0
    assert focus_map(model).nonzero().tolist() == [[1, 0, 1]]


def test_the_focus_map_is_a_picture_of_the_columns():
    W, _ = random_weight(0)
    torch.testing.assert_close(focus_map(net(W), shape=(1, 2, 4)), W.norm(dim=0).reshape(1, 2, 4))
    torch.testing.assert_close(focus_map(net(W)), W.norm(dim=0))
    assert focus_map(net(W), "3").shape == (6,)


def test_another_layer_can_be_named():
    assert {r.site for r in measure(net(torch.ones(2, 3)), None, [], Support(layers="3"))} == {"3.weight"}


def test_bad_input_is_refused_by_words():
    model = net(torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"relevant must be indices in 0 .. 2, got -1 .. 1"):
        measure(model, None, [], Support(relevant=(1, -1)))
    with pytest.raises(ValueError, match=r"relevant must have one truth value for each of 3 inputs, got 2"):
        measure(model, None, [], Support(relevant=(True, False)))
    with pytest.raises(ValueError, match=r"relevant must hold at least one input, got none"):
        measure(model, None, [], Support(relevant=(False, False, False)))
    with pytest.raises(LookupError, match=r"needs a linear layer or a convolution, got none"):
        measure(nn.Embedding(3, 4), None, [], Support())
    with pytest.raises(ValueError, match=r"shape must have the layer's 3 inputs, got \(2, 2\)"):
        focus_map(model, shape=(2, 2))


@pytest.mark.parametrize("relevant", [[0, 1], torch.tensor([True, False]), (0, True), (0.5,), "0"])
def test_relevant_inputs_of_another_kind_are_refused_by_words(relevant):
    with pytest.raises(TypeError, match=r"relevant must be a tuple of indices or of truth values.*tuple\(mask"):
        Support(relevant=relevant)


def test_bad_thresholds_are_refused_by_words():
    with pytest.raises(ValueError, match=r"threshold must be in \[0, 1\), got 1.0"):
        Support(threshold=1.0)
