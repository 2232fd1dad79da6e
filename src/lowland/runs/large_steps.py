"""Small regressions by SGD on single examples, with steps as large as training survives, then small ones."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from lowland.checks import one_of
from lowland.runs.side_by_side import batches
from lowland.seeds import generator

__all__ = ["Diagonal", "Regression", "large_step", "network", "trained"]

LOST = 1e3
"""A training loss beyond this has diverged."""

FACTOR = 1 / 0.9
"""Between two neighbouring step sizes that are tried."""

TRIED = 40
"""Step sizes that are tried, from the smallest."""


@dataclass(frozen=True, kw_only=True)
class Regression:
    """A target, a network for it, and how many steps of SGD on single examples it is trained for.

    ``diagonal``: h(x) = <u * v, x> of a sparse positive target, from u = 0.1 and v = 0. ``two layers``: ReLU
    students of a ReLU teacher on the circle, without biases, the output from 0.

    Attributes:
        kind: One of them.
        inputs: Their dimension.
        examples: To train on.
        tests: Fresh ones to test on.
        teacher: Entries of the target that are not 0, or units of the teacher.
        width: Units of the student.
        steps: In all.
        smallest: The smallest step size that is tried.
    """

    kind: Literal["diagonal", "two layers"]
    inputs: int
    examples: int
    tests: int = 1000
    teacher: int
    width: int = 0
    steps: int
    smallest: float = 0.05

    def __post_init__(self) -> None:
        one_of("kind", self.kind, ["diagonal", "two layers"])

    def start(self, seed: int) -> list[Tensor]:
        """The weights at first, each a matrix: u and v, or those of two layers."""
        if self.kind == "diagonal":
            return [torch.full((1, self.inputs), 0.1).double(), torch.zeros(1, self.inputs).double()]
        first = 0.5 * torch.randn(
            self.width, self.inputs, generator=generator(seed, "weights"), dtype=torch.float64
        )
        return [first, torch.zeros(1, self.width, dtype=torch.float64)]

    def data(self, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Inputs (n, d) and targets (n,) to train on, and to test on, in float64."""
        stream = generator(seed, "data")
        total = self.examples + self.tests
        x = torch.randn(total, self.inputs, generator=stream, dtype=torch.float64)
        if self.kind == "diagonal":
            target = torch.zeros(self.inputs, dtype=torch.float64)
            target[: self.teacher] = torch.rand(self.teacher, generator=stream, dtype=torch.float64)
            y = x @ (target / target.norm())
        else:
            x = nn.functional.normalize(x, dim=1)
            inner = torch.randn(self.teacher, self.inputs, generator=stream, dtype=torch.float64)
            outer = torch.randn(self.teacher, generator=stream, dtype=torch.float64)
            y = (x @ inner.T / math.sqrt(self.inputs)).relu() @ outer / math.sqrt(self.teacher)
        n = self.examples
        return x[:n], y[:n], x[n:], y[n:]

    def answers(self, weights: Sequence[Tensor], x: Tensor) -> Tensor:
        """Of all replicas, (r, n), to inputs (r, n, d)."""
        first, second = weights
        if self.kind == "diagonal":
            return (x @ (first * second).mT)[..., 0]
        return ((x @ first.mT).relu() @ second.mT)[..., 0]


class Diagonal(nn.Module):
    """The diagonal network <u * v, x>, of weights of shape (1, d)."""

    def __init__(self, u: Tensor, v: Tensor) -> None:
        super().__init__()
        self.u, self.v = nn.Parameter(u.clone()), nn.Parameter(v.clone())

    def forward(self, x: Tensor) -> Tensor:
        """Answers (n, 1) to inputs (n, d)."""
        return x @ (self.u * self.v).T


def network(task: Regression, weights: Sequence[Tensor]) -> nn.Module:
    """One replica as a module, its weights copied."""
    first, second = weights
    if task.kind == "diagonal":
        return Diagonal(first, second)
    layers = [nn.Linear(w.shape[1], w.shape[0], bias=False, dtype=w.dtype) for w in weights]
    with torch.no_grad():
        for layer, weight in zip(layers, weights, strict=True):
            layer.weight.copy_(weight)
    return nn.Sequential(layers[0], nn.ReLU(), layers[1])


def trained(
    task: Regression, seeds: Sequence[int], etas: Tensor, device: str
) -> Iterator[tuple[int, list[Tensor]]]:
    """Train replicas of every seed side by side.

    The seed decides data, start and the order of the examples, whatever the steps are.

    Args:
        task: What is learnt.
        seeds: s of them.
        etas: Step sizes, of shape (steps, a, s): over time, of each of a arms, for each seed.
        device: Where to compute.

    Yields:
        The step before which it is, and the weights, of shape (a s, ...), arms first; they change in place.
    """
    arms = etas.shape[1]
    parts = zip(*(task.data(seed)[:2] for seed in seeds), strict=True)
    x, y = (torch.stack(part).to(device) for part in parts)
    starts = zip(*(task.start(seed) for seed in seeds), strict=True)
    weights = [torch.stack(w).repeat(arms, 1, 1).to(device).requires_grad_() for w in starts]
    own = torch.arange(len(seeds), device=device)[:, None]
    for step, at in zip(range(len(etas)), batches(task.examples, 1, seeds), strict=False):
        yield step, weights
        inputs, targets = x[own, at.to(device)].repeat(arms, 1, 1), y[own, at.to(device)].repeat(arms, 1)
        losses = (task.answers(weights, inputs) - targets).square().sum() / 2
        sizes = etas[step].to(device).flatten()[:, None, None]
        grads = torch.autograd.grad(losses, weights)
        with torch.no_grad():
            for weight, grad in zip(weights, grads, strict=True):
                weight.sub_(sizes * grad)
    yield len(etas), weights


def large_step(task: Regression, seeds: Sequence[int], steps: int, device: str) -> Tensor:
    """Nine tenths of the largest constant step size of a grid with which training is not lost after some steps.

    No smaller one of the grid is lost, nor is this, which is the next below on the grid.

    Returns:
        Step sizes, one for every seed, (s,); 0 where not even the smallest two are survived.
    """
    grid = task.smallest * FACTOR ** torch.arange(TRIED, dtype=torch.float64)
    weights: list[Tensor] = []
    for _, now in trained(task, seeds, grid[:, None].expand(steps, TRIED, len(seeds)), device):
        weights = now
    parts = zip(*(task.data(seed)[:2] for seed in seeds), strict=True)
    x, y = (torch.stack(part).to(device) for part in parts)
    with torch.no_grad():
        errors = task.answers(weights, x.repeat(TRIED, 1, 1)) - y.repeat(TRIED, 1)
    alive = (errors.square().mean(1) < LOST).view(TRIED, len(seeds)).cpu()
    count = alive.long().cumprod(0).sum(0)
    return torch.where(count > 1, grid[(count - 2).clamp(min=0)], 0.0)
