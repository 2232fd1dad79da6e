"""A small training problem, the same in every process."""

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import lowland
from lowland.catalog import build, names

LOSS = nn.functional.cross_entropy
METHODS = names("methods")


class Net(nn.Module):
    """Sizes that do not halve, a shard of nothing, tied, frozen and unused parameters."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        self.norm = nn.LayerNorm(9)
        self.mix = nn.Linear(9, 9)
        self.again = nn.Linear(9, 9)
        self.again.weight = self.mix.weight
        self.scale = nn.Parameter(torch.ones(1))
        self.frozen = nn.Parameter(torch.ones(9), requires_grad=False)
        self.unused = nn.Parameter(torch.ones(3))
        self.head = nn.Linear(9, 3)

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(x).mean(1).flatten(1)))
        x = torch.relu(self.again(torch.relu(self.mix(x)))) * self.frozen
        return self.head(x) * self.scale


def net(dtype=torch.float64):
    torch.manual_seed(1)
    return Net().to(dtype)


def replicated(dtype=torch.float64, **how):
    return DistributedDataParallel(net(dtype), **how)


def batches(steps, dtype=torch.float64):
    """Whole batches of 8."""
    draw = torch.Generator().manual_seed(2)
    for _ in range(steps):
        yield torch.randn(8, 1, 3, 3, generator=draw, dtype=dtype), torch.randint(3, (8,), generator=draw)


def share(rank, x, y):
    """Half of a batch."""
    rows = slice(4 * rank, 4 * rank + 4)
    return x[rows], y[rows]


def momentum(model):
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05, momentum=0.9)


def train(method, model, data, **how):
    """Train on the batches of ``data``; return the weights."""
    opt = momentum(model)
    engine = method.bind(model, optimizer=opt, **how)
    for x, y in data:
        engine.backward(lowland.objective(model, LOSS, x, y))
        opt.step()
        opt.zero_grad()
    return weights(model)


def weights(model):
    return {name: whole(p) for name, p in getattr(model, "module", model).state_dict().items()}


def whole(tensor):
    return (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).detach().clone()


def half(rank, steps, dtype=torch.float64):
    """One process's share of every batch."""
    return [share(rank, x, y) for x, y in batches(steps, dtype)]


def sees_examples(name):
    """Whether a method works on examples, so that it matters how a batch is shared out."""
    model = net()
    x, y = next(batches(1))
    engine = build("methods", name).bind(model, optimizer=momentum(model))
    try:
        engine.backward(lambda: LOSS(model(x), y))
    except TypeError:
        return True
    return False


def near(a, b, tolerance=1e-10):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def same(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
