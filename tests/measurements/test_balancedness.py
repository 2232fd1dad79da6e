import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lowland.measurements.balancedness import Balancedness
from lowland.measuring.measure import measure
from lowland.models.mlp import MLP

SEEDS = st.integers(0, 2**31)


def chain(*weights):
    """Linear layers with these weights, one after the other."""
    layers = [nn.Linear(W.shape[1], W.shape[0], bias=False, dtype=W.dtype) for W in weights]
    for layer, W in zip(layers, weights, strict=True):
        layer.weight = nn.Parameter(W.clone())
    return nn.Sequential(*layers)


def numbers(model, **fields):
    return {r.name: r.value for r in measure(model, None, [], Balancedness(**fields))}


def pairs(model, **fields):
    found = measure(model, None, [], Balancedness(**fields))
    return [(r.site, r.settings["next"]) for r in found if r.name == "imbalance"]


def random_pair(seed, h=5):
    g = torch.Generator().manual_seed(seed)
    lower, upper = (torch.randn(*shape, generator=g, dtype=torch.float64) for shape in ((h, 4), (3, h)))
    return lower, upper, g


def steps(model, rate, time):
    """Full-batch gradient descent for ``time`` units of time."""
    g = torch.Generator().manual_seed(1)
    x, y = (torch.randn(30, n, generator=g, dtype=torch.float64) for n in (4, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for _ in range(round(time / rate)):
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()
    return model


def hidden(act, bias):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6, bias=bias), act, nn.Linear(6, 3)).double()


def imbalance(model, bias):
    """D, its rows and columns being the hidden units."""
    lower, upper = model[0], model[2].weight
    incoming = torch.cat([lower.weight, lower.bias[:, None]], 1) if bias else lower.weight
    return (upper.T @ upper - incoming @ incoming.T).detach()


def test_equals_the_definition():
    lower, upper, _ = random_pair(0)
    outgoing, incoming = upper.T @ upper, lower @ lower.T
    D = outgoing - incoming
    expected = {
        "imbalance": D.norm().item(),
        "relative_imbalance": (D.norm() / (outgoing.norm() + incoming.norm())).item(),
        "unit_imbalance": D.diagonal().norm().item(),
    }
    torch.testing.assert_close(numbers(chain(lower, upper)), expected, rtol=1e-9, atol=1e-12)


def test_factors_that_share_singular_values_evenly_are_balanced():
    U, S, V = torch.linalg.svd(torch.randn(3, 4, dtype=torch.float64), full_matrices=False)
    found = numbers(chain(S.sqrt()[:, None] * V, U * S.sqrt()))
    assert all(value < 1e-12 for value in found.values())


def test_one_layer_that_vanishes_is_as_unbalanced_as_can_be_and_two_are_balanced():
    lower, upper, _ = random_pair(0)
    assert math.isclose(numbers(chain(0 * lower, upper))["relative_imbalance"], 1.0)
    assert set(numbers(chain(0 * lower, 0 * upper)).values()) == {0.0}


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.floats(1e-3, 1e3))
def test_laws_of_units_inputs_outputs_and_scale(seed, scale):
    lower, upper, g = random_pair(seed)
    one = numbers(chain(lower, upper))
    order = torch.randperm(5, generator=g)
    turn = torch.linalg.qr(torch.randn(4, 4, generator=g, dtype=torch.float64))[0]
    spin = torch.linalg.qr(torch.randn(3, 3, generator=g, dtype=torch.float64))[0]
    same = numbers(chain(lower[order] @ turn, spin @ upper[:, order]))
    torch.testing.assert_close(same, one, rtol=1e-9, atol=1e-12)
    scaled = numbers(chain(scale * lower, scale * upper))
    assert math.isclose(scaled["imbalance"], scale**2 * one["imbalance"], rel_tol=1e-9)
    assert math.isclose(scaled["relative_imbalance"], one["relative_imbalance"], rel_tol=1e-9)


@pytest.mark.parametrize("bias", [False, True])
def test_gradient_flow_keeps_the_imbalance_of_linear_layers(bias):
    """The drift is of first order in the step, so a tenth of the step leaves about a tenth of it."""
    start = imbalance(hidden(nn.Identity(), bias), bias)
    coarse, fine = (imbalance(steps(hidden(nn.Identity(), bias), rate, 2.0), bias) for rate in (1e-2, 1e-3))
    assert (fine - start).norm() < 0.12 * (coarse - start).norm() < 0.01 * start.norm()
    assert math.isclose(numbers(hidden(nn.Identity(), bias), bias=bias)["imbalance"], start.norm(), rel_tol=1e-9)


@pytest.mark.parametrize("bias", [False, True])
def test_gradient_flow_keeps_the_imbalance_of_each_unit_under_relu(bias):
    start = imbalance(hidden(nn.ReLU(), bias), bias)
    coarse, fine = (imbalance(steps(hidden(nn.ReLU(), bias), rate, 2.0), bias) for rate in (1e-2, 1e-3))
    drift, finer = ((end - start).diagonal().norm() for end in (coarse, fine))
    assert finer < 0.12 * drift < 0.01 * start.norm()
    assert (fine - start).norm() > 10 * finer  # only the diagonal is kept
    assert math.isclose(numbers(hidden(nn.ReLU(), bias), bias=bias)["unit_imbalance"], start.diagonal().norm())


def test_layers_inside_a_sequential_follow_each_other_across_activations_and_dropout_only():
    block = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Dropout(), nn.Sequential(nn.Linear(4, 5), nn.GELU()))
    tail = nn.Sequential(nn.Linear(5, 5), nn.LayerNorm(5), nn.Linear(5, 2), nn.Linear(2, 2))
    model = nn.Module()
    model.body, model.tail, model.spare = block, tail, nn.Linear(5, 5)
    assert pairs(model) == [("body.0", "body.3.0"), ("tail.2", "tail.3")]


def test_a_normalisation_that_is_called_again_still_stands_between():
    norm = nn.LayerNorm(3)
    assert pairs(
        nn.Sequential(nn.Linear(3, 3), norm, nn.Linear(3, 3), nn.Linear(3, 3), norm, nn.Linear(3, 3))
    ) == [("2", "3")]


def test_other_layers_can_be_named_in_their_order():
    mlp = MLP((1, 4, 4), 3, widths=(8, 6))
    assert pairs(mlp) == [("blocks.0.0", "blocks.1.0")]
    assert pairs(mlp, layers=("blocks.1.0", "head")) == [("blocks.1.0", "head")]


def test_a_model_in_which_no_layers_are_known_to_follow_each_other_has_no_reading():
    assert measure(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Linear(3, 4)), None, [], Balancedness()) == []


def test_settings_name_the_next_layer_and_the_units():
    found = measure(hidden(nn.Tanh(), True), None, [], Balancedness())[0]
    assert (found.site, found.settings["next"], found.settings["units"]) == ("0", "2", 6)


def test_bad_input_is_refused_by_words():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(LookupError, match="no layer called '3'"):
        measure(model, None, [], Balancedness(layers=("0", "3")))
    with pytest.raises(TypeError, match=r"Layer '1' must be nn.Linear, got ReLU. Name linear layers"):
        measure(model, None, [], Balancedness(layers=("0", "1")))
    with pytest.raises(ValueError, match=r"Layer '0' must take the 2 outputs of '2', got 3 inputs"):
        measure(model, None, [], Balancedness(layers=("2", "0")))
    with pytest.raises(ValueError, match=r"layers must be two or more layers that follow each other, got 'fc'"):
        Balancedness(layers="fc")
    nn.init.constant_(model[0].weight, float("nan"))
    with pytest.raises(ValueError, match=r"Weights of '0' and '2' must be finite, got inf or nan"):
        measure(model, None, [], Balancedness())
