"""Small regressions by SGD on single examples, with large steps at first, then small ones; how large they may be.

Every network is trained in several replicas side by side, which do not know of each other.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from lowland.experiments.side_by_side import batches

__all__ = ["FACTOR", "FITTED", "LEAST", "SMALL", "Regression", "drawn", "large_step", "schedule", "trained"]

SMALL = 0.2
"""A small step over a large one."""

FITTED = 0.1
"""A step is survived if training ends with a loss below this share of that of the best constant answer."""

LEAST = 40
"""Fewest steps of a training with a course to look at."""

FACTOR = 1 / 0.9
"""Between two neighbouring step sizes that are tried."""

TRIED = 40
"""Step sizes that are tried, from the smallest."""


class Regression(Protocol):
    """What is learnt, and by which network.

    Attributes:
        examples: To train on.
        steps: Of SGD, in all.
        smallest: The smallest step size that is tried.
        growth: What large steps grow to by the end of training, as the root of its share; 1: they are constant.
    """

    @property
    def examples(self) -> int: ...  # noqa: D102
    @property
    def steps(self) -> int: ...  # noqa: D102
    @property
    def smallest(self) -> float: ...  # noqa: D102
    @property
    def growth(self) -> float: ...  # noqa: D102

    def start(self, seed: int) -> list[Tensor]:
        """The weights at first, each a matrix."""
        ...

    def data(self, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Inputs (n, d) and targets (n,) to train on, and to test on, in float64."""
        ...

    def answers(self, weights: Sequence[Tensor], x: Tensor) -> Tensor:
        """Of all replicas, (r, n), to inputs (r, n, d)."""
        ...

    def network(self, weights: Sequence[Tensor]) -> nn.Module:
        """One replica as a module, its weights copied; its outputs are (n, 1)."""
        ...

    def used(self, network: nn.Module, x: Tensor) -> dict[str, float]:
        """What a network has in use, layer by layer, on inputs (n, d)."""
        ...


def schedule(steps: int, share: float, growth: float = 1.0) -> Tensor:
    r"""Step sizes over training, (steps,), as multiples of a large one.

    :math:`1 + (g - 1) \sqrt t` while the share t of training that is done is below ``share``, then ``SMALL``.

    Example:
        >>> schedule(5, 0.4).tolist()
        [1.0, 1.0, 0.2, 0.2, 0.2]
    """
    done = torch.arange(steps, dtype=torch.float64) / steps
    return torch.where(done < share, 1 + (growth - 1) * done.sqrt(), SMALL)


def drawn(task: Regression, seeds: Sequence[int], device: str) -> tuple[Tensor, Tensor]:
    """Inputs (s, n, d) and targets (s, n) of s seeds to train on."""
    x, y = (torch.stack(part).to(device) for part in zip(*(task.data(seed)[:2] for seed in seeds), strict=True))
    return x, y


def trained(
    task: Regression, seeds: Sequence[int], schedules: Tensor, sizes: Tensor, device: str
) -> Iterator[tuple[int, list[Tensor]]]:
    """Train replicas of every seed side by side.

    The seed decides data, start and the order of the examples, whatever the steps are.

    Args:
        task: What is learnt.
        seeds: s of them.
        schedules: Of each of a arms, (steps, a), as multiples of
        sizes: Step sizes of each arm for each seed, (a, s).
        device: Where to compute.

    Yields:
        The step before which it is, and the weights, of shape (a s, ...), arms first; they change in place.
    """
    arms, (x, y) = len(sizes), drawn(task, seeds, device)
    starts = zip(*(task.start(seed) for seed in seeds), strict=True)
    weights = [torch.stack(w).repeat(arms, 1, 1).to(device).requires_grad_() for w in starts]
    schedules, sizes = schedules.to(device), sizes.to(device)
    own = torch.arange(len(seeds), device=device)[:, None]
    for step, at in zip(range(len(schedules)), batches(task.examples, 1, seeds), strict=False):
        yield step, weights
        inputs, targets = x[own, at.to(device)].repeat(arms, 1, 1), y[own, at.to(device)].repeat(arms, 1)
        losses = (task.answers(weights, inputs) - targets).square().sum() / 2
        grads = torch.autograd.grad(losses, weights)
        etas = (schedules[step][:, None] * sizes).flatten()[:, None, None]
        with torch.no_grad():
            for weight, grad in zip(weights, grads, strict=True):
                weight.sub_(etas * grad)
    yield len(schedules), weights


def large_step(task: Regression, seeds: Sequence[int], longest: float, device: str) -> Tensor:
    """Nine tenths of the largest step size that training survives, tried with the longest of the schedules.

    Tried are those of a grid, of which each is nine tenths of the next, so that what is returned was tried as
    well; it must be survived, too. Survived is what ends below ``FITTED`` of the loss of the best constant answer.

    Args:
        task: What is learnt.
        seeds: s of them.
        longest: The share of large steps.
        device: Where to compute.

    Returns:
        Step sizes, one for every seed, (s,); 0 where no two neighbours are survived.
    """
    grid = (task.smallest * FACTOR ** torch.arange(TRIED, dtype=torch.float64))[:, None].expand(-1, len(seeds))
    schedules = schedule(task.steps, longest, task.growth)[:, None].expand(-1, TRIED)
    weights: list[Tensor] = []
    for _, now in trained(task, seeds, schedules, grid, device):
        weights = now
    x, y = drawn(task, seeds, device)
    with torch.no_grad():
        errors = task.answers(weights, x.repeat(TRIED, 1, 1)) - y.repeat(TRIED, 1)
    losses = errors.square().mean(1).view(TRIED, len(seeds))
    survived = (losses < FITTED * y.var(1, correction=0)).cpu()
    return torch.where(survived[:-1] & survived[1:], grid[:-1], 0.0).amax(0)
