import contextlib

import pytest
import torch
from torch import nn

from lowland import shield
from lowland.measuring import displaced as displacing
from lowland.measuring.displaced import displaced
from lowland.operators.problem import problem
from pressed import pressed_at


class WithView(nn.Module):
    """A layer that keeps a view of its weight."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 3))
        self.turned = self.weight.detach().t()

    def forward(self, x):
        return x @ self.turned + 0 * self.weight.sum()


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(3, 2, batch_first=True)

    def forward(self, x):
        return self.rnn(x[:, None])[0][:, -1]


def compiled():
    return torch.compile(nn.Linear(3, 2), backend="eager")


def of(model):
    return problem(model, nn.functional.cross_entropy, (torch.randn(4, 3), torch.tensor([0, 1, 1, 0])))


def outputs(p):
    with p.calm(), torch.no_grad():
        return p.outputs(next(iter(p.batches)))


@pytest.mark.parametrize("make", [lambda: nn.Linear(3, 2), WithView, Recurrent, compiled])
def test_the_model_answers_as_one_with_those_weights(make):
    p = of(make())
    assert outputs(p).any()
    assert not displaced(p, torch.zeros(p.size), lambda: outputs(p)).any()


def test_weights_come_back_bit_for_bit_and_a_graph_stays_valid():
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.weight[0, 0] = -0.0
    p, before = of(model), model.weight.detach().clone()
    held = model(torch.ones(1, 3)).square().sum()
    displaced(p, torch.full((p.size,), 1e30), lambda: None)
    assert torch.equal(model.weight.view(torch.int32), before.view(torch.int32))
    held.backward()
    assert model.weight.grad is not None


def test_weights_come_back_when_something_is_raised():
    model = nn.Linear(3, 2)
    p, before = of(model), model.weight.detach().clone()
    with pytest.raises(ZeroDivisionError):
        displaced(p, torch.zeros(p.size), lambda: 1 / 0)
    assert torch.equal(model.weight, before)


def test_weights_come_back_at_whatever_moment_ctrl_c_is_pressed():
    p = of(nn.Linear(3, 2))
    before = [q.detach().clone() for q in p.model.parameters()]
    files, interrupted = (displacing.__file__, shield.__file__, contextlib.__file__), 0
    for moment in range(1, 2000):
        try:
            pressed_at(moment, lambda: displaced(p, torch.zeros(p.size), lambda: outputs(p)), files)
            break
        except KeyboardInterrupt:
            interrupted += 1
        assert all(torch.equal(q, old) for q, old in zip(p.model.parameters(), before, strict=True))
    assert interrupted == moment - 1 > 20
