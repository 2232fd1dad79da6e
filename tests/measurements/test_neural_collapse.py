import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lowland.measurements.neural_collapse import NeuralCollapse
from lowland.measuring.measure import measure
from references.neural_collapse import neural_collapse

SEEDS = st.integers(0, 2**31)


def head(W, bias=None):
    """A model that is a linear head."""
    layer = nn.Linear(W.shape[1], W.shape[0], bias=bias is not None).to(W.dtype)
    with torch.no_grad():
        layer.weight.copy_(W)
        if bias is not None:
            layer.bias.copy_(bias)
    return nn.Sequential(layer)


def readings(model, H, y, size=16, **fields):
    return measure(model, None, list(zip(H.split(size), y.split(size), strict=True)), NeuralCollapse(**fields))


def signs(model, H, y, size=16, **fields):
    found = readings(model, H, y, size, **fields)
    return {f"{r.name} {r.settings['of']}" if "of" in r.settings else r.name: r.value for r in found}


def problem(seed=0, n=60, d=7, k=4):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(k, (n,), generator=g)
    y[:k] = torch.arange(k)
    centres = torch.randn(k, d, generator=g, dtype=torch.float64)
    H = centres[y] + 0.5 * torch.randn(n, d, generator=g, dtype=torch.float64) + 1.0
    return (
        H,
        y,
        torch.randn(k, d, generator=g, dtype=torch.float64),
        torch.randn(k, generator=g, dtype=torch.float64),
    )


def simplex(k, d):
    """Corners of a regular simplex around the origin, as rows."""
    return torch.nn.functional.pad(torch.eye(k, dtype=torch.float64) - 1 / k, (0, d - k))


def assert_same(found, expected, rtol=1e-9):
    torch.testing.assert_close(found, expected, rtol=rtol, atol=1e-9)


@pytest.mark.parametrize("size", [1, 7, 60])
@pytest.mark.parametrize("d", [3, 7, 90])
def test_equals_the_definitions_from_all_features_at_once(d, size):
    H, y, W, bias = problem(d=d)
    decided = (H @ W.T + bias).argmax(1).numpy()
    assert_same(signs(head(W, bias), H, y, size), neural_collapse(H.numpy(), y.numpy(), W.numpy(), decided))


@pytest.mark.parametrize("k", [2, 3, 10])
def test_full_collapse_shows_no_sign(k):
    corners, y = simplex(k, 12), torch.arange(k).repeat(5)
    found = signs(head(2 * corners), 3 * corners[y] + 0.7, y)
    assert all(abs(value) < 1e-12 for value in found.values())


def test_each_sign_is_its_own():
    corners, y = simplex(3, 4), torch.arange(3).repeat(20)
    wide = corners.clone()
    wide[0] *= 2.0
    longer = signs(head(wide), corners[y], y)
    assert longer["nc2_norms weights"] > 0.1
    assert longer["nc2_norms means"] < 1e-12
    assert longer["nc3"] > 0.1
    spread = signs(head(corners), corners[y] + 0.01 * torch.randn(60, 4, dtype=torch.float64), y)
    assert 0 < spread["nc1"] < 1e-2
    assert signs(head(-corners), corners[y], y)["nc3"] == pytest.approx(2.0)
    assert signs(head(corners.roll(1, 0)), corners[y], y)["nc4"] == 1.0


def test_variability_far_below_the_means_keeps_its_digits():
    corners, y = simplex(3, 5), torch.arange(3).repeat(50)
    noise = 1e-6 * torch.randn(150, 5, dtype=torch.float64)
    found = signs(head(corners), 1e3 + corners[y] + noise, y)["nc1"]
    expected = neural_collapse((corners[y] + noise).numpy(), y.numpy(), corners.numpy(), y.numpy())["nc1"]
    assert math.isclose(found, expected, rel_tol=1e-4)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.floats(1e-3, 1e3))
def test_does_not_change_when_features_are_turned_scaled_or_moved_and_the_head_with_them(seed, scale):
    H, y, W, bias = problem(seed)
    turn = torch.linalg.qr(torch.randn(7, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))[
        0
    ]
    moved = H - H.mean(0)
    one, other = signs(head(W, bias), moved, y), signs(head(W @ turn / scale, bias), scale * moved @ turn, y)
    assert_same(other, one, rtol=1e-6)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(1, 70), st.integers(1, 3))
def test_does_not_change_with_order_or_size_of_batches_names_of_classes_or_repetition(seed, size, times):
    H, y, W, bias = problem(seed)
    g = torch.Generator().manual_seed(seed)
    order, names = torch.randperm(60 * times, generator=g), torch.randperm(4, generator=g)
    renamed = head(W[names.argsort()], bias[names.argsort()])
    other = signs(renamed, H.repeat(times, 1)[order], names[y].repeat(times)[order], size)
    assert_same(other, signs(head(W, bias), H, y))


def test_missing_classes_and_classes_of_one_example_are_said_and_left_out():
    H, y, W, bias = problem(k=6)
    keep = (y != 2) & (y != 5)
    H, y = torch.cat([H[keep], H[:1]]), torch.cat([y[keep], torch.tensor([5])])
    found = readings(head(W, bias), H, y)
    assert {"classes": 5, "missing": 1, "fewest": 1, "examples": len(y)}.items() <= found[0].settings.items()
    decided = (H @ W.T + bias).argmax(1).numpy()
    assert_same(signs(head(W, bias), H, y), neural_collapse(H.numpy(), y.numpy(), W.numpy(), decided))


def test_the_last_linear_layer_is_the_head_unless_another_is_named():
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3), nn.Identity()).double()
    H, y, *_ = problem(d=5, k=3)
    assert {r.site for r in readings(model, H, y)} == {"2"}
    assert {r.site for r in readings(model, H, y, layers=("0", "2"))} == {"0", "2"}


def test_nc4_has_a_binomial_error_and_can_be_left_out():
    H, y, W, bias = problem()
    found = readings(head(W, bias), H, y)[-1]
    assert found.name == "nc4"
    assert math.isclose(found.stderr, math.sqrt(found.value * (1 - found.value) / 60))
    assert "nc4" not in signs(head(W, bias), H, y, nearest=False)


def test_what_is_not_defined_has_no_reading():
    H, y, W, _ = problem()
    assert set(signs(head(0 * W), H, y)) == {"nc1", "nc2_norms means", "nc2_angles means", "nc4"}
    alike = torch.full_like(H, 0.1)
    assert set(signs(head(W), alike, y)) == {"nc2_norms weights", "nc2_angles weights", "nc4"}


def test_single_precision_agrees_with_double():
    H, y, W, bias = problem(n=500)
    single = signs(head(W.float(), bias.float()), H.float(), y)
    assert_same(single, signs(head(W, bias), H, y), rtol=1e-4)


def test_bad_input_is_refused_by_words():
    H, y, W, _ = problem()
    with pytest.raises(ValueError, match=r"NeuralCollapse needs targets .* class labels, got torch.float64"):
        readings(head(W), H, y.double())
    with pytest.raises(ValueError, match=r"needs labels in 0 .. 3, as the model has 4 outputs, got 1 .. 4"):
        readings(head(W), H, y + 1)
    with pytest.raises(ValueError, match=r"NeuralCollapse needs examples of 2 classes or more, got 1"):
        readings(head(W), H, torch.zeros_like(y))
    with pytest.raises(ValueError, match=r"must read linear layers, got Identity at '0'. Name the model's head"):
        readings(nn.Sequential(nn.Identity(), head(W)), H, y, layers="0")
    with pytest.raises(LookupError, match=r"needs a linear layer inside the model, got none. Name a head"):
        readings(nn.Sequential(nn.Identity()), H, y)
    pooling = nn.Sequential(nn.Unflatten(1, (7, 1)), nn.Linear(1, 1).double(), nn.Flatten())
    with pytest.raises(ValueError, match=r"needs outputs of shape \(n, k\).*got \(16, 7, 1\)"):
        readings(pooling, H, y)
