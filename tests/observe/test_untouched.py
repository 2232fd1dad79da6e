import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

from lowland.observe.untouched import untouched


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
        self.register_buffer("calls", torch.zeros(1, dtype=torch.int64), persistent=False)

    def forward(self, x):
        self.calls = self.calls + 1
        return self.inner(x)


def draws():
    return torch.rand(2).tolist(), random.random(), float(np.random.rand())


def state(model):
    tensors = [*model.state_dict().values(), model.calls]
    return [t.clone() for t in tensors], [m.training for m in model.modules()]


def vandalise(model):
    model.train().inner[2].eval()
    model(torch.randn(8, 3)).square().sum().backward()
    with torch.no_grad():
        model.inner[0].weight.add_(1.0)
    model.inner[0].bias = nn.Parameter(torch.ones(3))
    model.inner[1].requires_grad_(False)
    model.register_buffer("extra", torch.ones(1))
    model.inner[1].running_mean.fill_(float("nan"))
    draws()


def test_restores_weights_buffers_and_modes_bit_for_bit():
    model = Counting()
    model.inner[1].eval()
    before, objects = copy.deepcopy(state(model)), [id(p) for p in model.parameters()]
    with untouched(model):
        vandalise(model)
    torch.testing.assert_close(state(model), before, rtol=0, atol=0, equal_nan=True)
    assert objects == [id(p) for p in model.parameters()]
    assert "extra" not in dict(model.named_buffers())


def test_restores_everything_after_an_exception():
    model = Counting()
    before = copy.deepcopy(state(model))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), untouched(model):
        model.eval()(torch.randn(8, 7))
    torch.testing.assert_close(state(model), before, rtol=0, atol=0)


def test_restores_all_random_streams():
    model = Counting()
    with untouched(model):
        inside = draws()
    with untouched(model):
        again = draws()
    assert inside == again == draws() != draws()


def test_hides_gradients_inside_and_gives_the_same_objects_back():
    model = Counting()
    model(torch.randn(8, 3)).sum().backward()
    grads = [p.grad for p in model.parameters()]
    bits = [g.clone() for g in grads]
    with untouched(model):
        assert all(p.grad is None for p in model.parameters())
        vandalise(model)
    assert all(p.grad is g for p, g in zip(model.parameters(), grads, strict=True))
    torch.testing.assert_close(grads, bits, rtol=0, atol=0)


def test_restores_requires_grad_of_every_parameter():
    model = Counting()
    model.inner[0].bias.requires_grad_(False)
    with untouched(model):
        model.requires_grad_(True)
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == ["inner.0.bias"]


def test_a_graph_the_caller_still_holds_can_go_backward_afterwards():
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1))
    loss = model(torch.randn(4, 3)).sum()
    with untouched(model):
        model(torch.randn(4, 3)).sum().backward()
    loss.backward()
    assert model[0].weight.grad is not None


def test_restores_a_model_that_was_moved_to_another_dtype():
    model = nn.Linear(3, 3)
    before = model.weight.clone()
    with untouched(model):
        model.double()
    torch.testing.assert_close(model.weight, before, rtol=0, atol=0)


def test_tells_minus_zero_from_zero():
    model = nn.Linear(1, 1)
    nn.init.constant_(model.weight, -0.0)
    with untouched(model), torch.no_grad():
        model.weight.zero_()
    assert torch.signbit(model.weight).all()


def test_refuses_lazy_parameters_as_their_first_pass_leaves_a_trace():
    with (
        pytest.raises(ValueError, match=r"model must be initialised, got lazy 'weight'. Run one batch"),
        untouched(nn.LazyLinear(3)),
    ):
        pass
