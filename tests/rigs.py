"""Small networks and training runs that many tests share."""

import copy

import torch
from torch import nn


class Net(nn.Module):
    """Convolution, batch norm, dropout, a frozen, an unused and a tied parameter."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1, dtype=dtype)
        self.norm = nn.BatchNorm2d(4, dtype=dtype)
        self.drop = nn.Dropout(0.3)
        self.mix = nn.Linear(16, 16, dtype=dtype)
        self.again = nn.Linear(16, 16, dtype=dtype)
        self.again.weight = self.mix.weight
        self.frozen = nn.Parameter(torch.ones(16, dtype=dtype), requires_grad=False)
        self.unused = nn.Parameter(torch.ones(3, dtype=dtype))
        self.head = nn.Linear(16, 3, dtype=dtype)

    def forward(self, x):
        x = self.drop(torch.relu(self.norm(self.conv(x)))).mean(1).flatten(1)
        return self.head(torch.relu(self.again(torch.relu(self.mix(x)))) * self.frozen)


def net(dtype=torch.float64):
    torch.manual_seed(1)
    return Net(dtype)


def batches(count=6, size=8, dtype=torch.float64, seed=2):
    draw = torch.Generator().manual_seed(seed)
    for _ in range(count):
        x = torch.randn(size, 1, 4, 4, generator=draw, dtype=dtype)
        yield x, torch.randint(3, (size,), generator=draw)


def everything(model):
    """A copy of all that a pass could change: weights, buffers, modes, gradients, random state."""
    return copy.deepcopy(
        {
            "state": model.state_dict(),
            "modes": [m.training for m in model.modules()],
            "grads": [p.grad for p in model.parameters()],
            "random": torch.get_rng_state(),
        }
    )


def assert_same(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def momentum(model):
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05, momentum=0.9)


def train(method, model=None, steps=6, optimizer=momentum, **how):
    """Train a fresh net and return all of it, for comparisons bit for bit."""
    import lowland

    model = model or net()
    opt = optimizer(model)
    engine = method.bind(model, optimizer=opt, **how)
    torch.manual_seed(3)
    for x, y in batches(steps):
        engine.backward(lowland.objective(model, nn.functional.cross_entropy, x, y))
        opt.step()
        opt.zero_grad()
    return everything(model)
