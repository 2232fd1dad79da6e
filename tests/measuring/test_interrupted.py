"""Wherever Ctrl-C falls, what is measured stays as it was."""

import contextlib
import random

import numpy as np
import pytest
import torch
from torch import nn

from lowland import shield
from lowland.measurements.accuracy import Accuracy
from lowland.measurements.feature_rank import FeatureRank
from lowland.measurements.landscape import Landscape
from lowland.measurements.layer_hessian_norms import LayerHessianNorms
from lowland.measuring import batch_statistics, displaced
from lowland.measuring import measure as measuring
from lowland.observe import features, look, one_pass, ordinary, unfused, untouched
from lowland.operators import calm, kept, problem
from pressed import pressed_at

CE = nn.functional.cross_entropy
GUARDS = (untouched, unfused, features, ordinary, shield, contextlib)
MEASURING = (*GUARDS, batch_statistics, calm, displaced, kept, look, measuring, one_pass, problem)
MOMENTS = 60
"""At which a whole measurement is interrupted, of the thousands that there are."""


class Net(nn.Sequential):
    """Batch norm, dropout, a frozen weight, a buffer that every pass changes."""

    def __init__(self):
        super().__init__(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
        self[3].weight.requires_grad_(False)
        self.register_buffer("calls", torch.zeros(()), persistent=False)

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


def begun():
    torch.manual_seed(0)
    model = Net()
    CE(model(torch.randn(8, 3)), torch.arange(8) % 2).backward()
    model[1].eval()
    return model


def state(model):
    """Whatever a measurement may touch."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    depth = torch.autocast_increment_nesting()  # the only way to know; it stays 1 where no autocast was left open
    torch.autocast_decrement_nesting()
    switches = (
        depth,
        torch.is_grad_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.backends.mha.get_fastpath_enabled(),
        torch._C._len_torch_function_stack(),
        torch._C._autograd._saved_tensors_hooks_is_enabled(),
    )
    own = [(type(m), m.training, len(m._forward_hooks), getattr(m, "momentum", 0)) for m in model.modules()]
    places = [(name, id(t), id(t.grad), t.requires_grad, t.tolist()) for name, t in tensors]
    return places, own, switches, torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())


def inside_untouched(model):
    with untouched.untouched(model):
        model.train().requires_grad_(True)
        model(torch.randn(8, 3)).square().sum().backward()
        model[1].running_mean = torch.ones(4)
        random.random()


def inside_unfused(model):
    with unfused.unfused():
        pass


def inside_features(model):
    with features.features(model, ["0", "1", "3"], lambda *_: None):
        pass


def measured(*measurements):
    batches = [
        (torch.randn(n, 3, generator=torch.Generator().manual_seed(n)), torch.arange(n) % 2) for n in (5, 4)
    ]
    return lambda model: measuring.measure(model, CE, batches, measurements)


@pytest.mark.parametrize("act", [inside_untouched, inside_unfused, inside_features])
def test_a_guard_brings_all_back_at_whatever_moment_ctrl_c_is_pressed(act):
    files = [module.__file__ for module in GUARDS]
    model, interrupted, moment = begun(), 0, 0
    before = state(model)
    while interrupted == moment:
        moment += 1
        try:
            pressed_at(moment, lambda: act(model), files)
        except KeyboardInterrupt:
            interrupted += 1
        assert state(model) == before
    assert interrupted > 50


@pytest.mark.parametrize(
    "act",
    [
        measured(Accuracy()),
        measured(FeatureRank()),
        measured(LayerHessianNorms(probes=2)),
        measured(Landscape(points=2, buffers="renew")),
    ],
    ids=["accuracy", "feature rank", "layer norms", "landscape"],
)
def test_a_measurement_leaves_no_trace_at_whatever_moment_ctrl_c_is_pressed(act):
    files = [module.__file__ for module in MEASURING]
    model = begun()
    before = state(model)
    last = [pressed_at(0, lambda: act(model), files) for _ in range(2)][-1]  # the first time more is imported
    assert state(model) == before
    for moment in torch.linspace(1, last, MOMENTS).int().tolist():
        with pytest.raises(KeyboardInterrupt):
            pressed_at(moment, lambda moment=moment: act(model), files)
        assert state(model) == before
