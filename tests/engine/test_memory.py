"""A step of SAM holds one extra copy of the perturbed weights and nothing afterwards."""

import pytest
import torch
from torch import nn

import lowland
from ledger import Ledger


def wide():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 4))


def cost(method, **how):
    """Peak bytes of a step, and those still held after it."""
    model, x = wide(), torch.randn(4, 256)
    engine = method.bind(model, **how)
    with Ledger() as ledger:
        engine.backward(lambda: model(x).pow(2).mean())
        model.zero_grad()
    return ledger.peak, ledger.held


def extra(method, **how):
    """Peak and lasting memory beyond the plain gradient's, in units of the weights."""
    weights = sum(p.numel() * p.element_size() for p in wide().parameters())
    pairs = zip(cost(method, **how), cost(lowland.SGD()), strict=True)
    return tuple((ours - plain) / weights for ours, plain in pairs)


@pytest.mark.parametrize(
    ("method", "copies"),  # as the docstrings of the methods say
    [(lowland.SAM(), 1), (lowland.ASAM(), 1), (lowland.GSAM(), 3)],
)
def test_peak_of_a_step(method, copies):
    peak, after = extra(method)
    assert peak <= 1.02 * copies
    assert after < 0.001


def test_a_filter_costs_no_more():
    assert extra(lowland.SAM(), where="4.*")[0] <= 1.02
