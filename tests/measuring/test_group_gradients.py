import pytest
import torch
from torch import nn

from lowland.measuring.group_gradients import group_gradients
from lowland.operators.problem import problem


class Branching(nn.Module):
    """What vmap cannot run: a branch that depends on the data."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return self.layer(x if x.sum().item() > 0 else -x)


class Keeping(nn.Module):
    """What a functional call would get wrong: a layer that keeps a reference to its parameter."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.kept = [self.layer.weight]

    def forward(self, x):
        return nn.functional.linear(x, self.kept[0], self.layer.bias)


class Recurrent(nn.Module):
    """What vmap can run by a fallback only, of which it warns."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(2, 3, batch_first=True)

    def forward(self, x):
        return self.rnn(x.view(-1, 2, 2))[0][:, -1]


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x, shift):
        return self.layer(x + shift)


def conv_net():
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 2)),
        nn.Conv2d(1, 3, 2),
        nn.BatchNorm2d(3),
        nn.Flatten(),
        nn.LayerNorm(3),
        nn.Linear(3, 3),
    ).eval()


def one_by_one(p, data):
    parameters = list(p.parameters.values())
    rows = []
    with p.calm():
        for x, y in data:
            loss = nn.functional.cross_entropy(p.model(x), y)
            rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)]))
    return torch.stack(rows)


@pytest.mark.parametrize("make", [lambda: nn.Linear(4, 3), conv_net, Branching, Keeping, Recurrent])
@pytest.mark.parametrize("m", [1, 2])
def test_rows_are_the_groups_own_gradients(make, m):
    model, x, y = make().double(), torch.randn(10, 4, dtype=torch.float64), torch.arange(10) % 3
    p = problem(model, nn.functional.cross_entropy, list(zip(x.split(4), y.split(4), strict=True)))
    found = torch.cat(list(group_gradients(p, m)))
    torch.testing.assert_close(found, one_by_one(p, zip(x.split(m), y.split(m), strict=True)))


def test_blocks_are_as_small_as_memory_asks_for():
    data = torch.randn(10, 4), torch.arange(10) % 3
    p = problem(nn.Linear(4, 3), nn.functional.cross_entropy, data, memory=4 * 15 * 4 * 3)
    assert [len(block) for block in group_gradients(p, 1)] == [3, 3, 3, 1]


def test_batches_may_be_mappings():
    data = {"x": torch.randn(6, 4), "shift": torch.ones(6, 1)}
    p = problem(Named(), lambda z, batch: (z - batch["shift"]).square().mean(), data)
    torch.testing.assert_close(torch.cat(list(group_gradients(p, 1))).mean(0), p.gradient())
