"""Every method equals what it says it reduces to, bit for bit, batch norm and dropout included."""

import dataclasses

import pytest
import torch

import lowland
from lowland.catalog import load, names
from rigs import assert_same, momentum, train

LIMITS = [
    (name, to, settings) for name in names("methods") for to, settings in load("methods", name).REDUCES_TO.items()
]
WITH_RADIUS = [n for n in names("methods") if "rho" in {f.name for f in dataclasses.fields(load("methods", n))}]


def adamw(model):
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)


@pytest.mark.parametrize("optimizer", [momentum, adamw])
@pytest.mark.parametrize(("name", "to", "settings"), LIMITS)
def test_reduces_to_what_it_says(name, to, settings, optimizer):
    left = load("methods", name)(**settings)
    shared = {f.name: getattr(left, f.name) for f in dataclasses.fields(left) if f.name not in settings}
    right_fields = {f.name for f in dataclasses.fields(load("methods", to))}
    right = load("methods", to)(**{key: value for key, value in shared.items() if key in right_fields})
    assert_same(train(left, optimizer=optimizer), train(right, optimizer=optimizer))


@pytest.mark.parametrize("optimizer", [momentum, adamw])
@pytest.mark.parametrize("name", WITH_RADIUS)
def test_radius_zero_is_the_base_optimiser(name, optimizer):
    zero = load("methods", name).REDUCES_TO.get("sgd", {})
    method = load("methods", name)(**{**({} if "rho" not in zero else zero), "rho": 0.0})
    assert_same(train(method, optimizer=optimizer), train(lowland.SGD(), optimizer=optimizer))
