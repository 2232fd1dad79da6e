"""A step of SAM holds one extra copy of the perturbed weights and nothing afterwards."""

import pytest
import torch
from torch import nn

import lowland
from ledger import Ledger


def wide():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 4))


def extra(method, **how):
    """Peak memory of a step beyond the plain gradient's, and what is held after it, in units of the weights."""
    peaks, held = [], []
    for each in (lowland.SGD(), method):
        model = wide()
        engine, x = each.bind(model, **({} if each == lowland.SGD() else how)), torch.randn(4, 256)
        engine.backward(lambda model=model: model(x).pow(2).mean())
        model.zero_grad()
        with Ledger() as ledger:
            engine.backward(lambda model=model: model(x).pow(2).mean())
            model.zero_grad()
            peaks.append(ledger.peak)
            held.append(ledger.held)
    weights = sum(p.numel() * p.element_size() for p in wide().parameters())
    return (peaks[1] - peaks[0]) / weights, (held[1] - held[0]) / weights


@pytest.mark.parametrize(
    ("method", "copies"),
    [(lowland.SAM(), 1), (lowland.ASAM(), 1), (lowland.GSAM(), 3)],
)
def test_peak_of_a_step(method, copies):
    peak, after = extra(method)
    assert peak <= 1.02 * copies
    assert after < 0.001


def test_only_what_is_perturbed_is_backed_up():
    peak, _ = extra(lowland.SAM(), where="4.*")
    assert peak <= 1.02  # the first gradient lives on as long as the method holds it
    assert extra(lowland.SAM(rho=0.1), where="0.*")[0] <= 1.02
