"""What studies of the support train: small networks, on targets that look at some of their inputs."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lowland.checks import one_of
from lowland.experiments.side_by_side import batches, compressed
from lowland.seeds import generator

__all__ = ["TARGETS", "SupportTask"]

TARGETS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda z: z.sum(-1),
    "sine": lambda z: z.sum(-1).sin(),
    "staircase": lambda z: z.pow(torch.arange(1, z.shape[-1] + 1)).sum(-1),
}
"""Of the relevant inputs z, (n, r): their sum, the sine of that, and the sum of their powers 1, 2, …, r."""


@dataclass(frozen=True, kw_only=True)
class SupportTask:
    """A target with label noise, a network without biases, and how it is trained.

    Attributes:
        target: ``linear``, ``sine`` or ``staircase``, the last standardised.
        inputs: How many there are, d.
        relevant: How many of them, the first, the target looks at.
        examples: Inputs drawn, n; each has two labels, with the noise added and taken away.
        hidden: Units of the hidden layers.
        relu: Whether they are rectified; otherwise the network is linear.
        noise: Standard deviation of the label noise.
        learning_rate: Size of a step.
        clip: Longest gradient.
        steps: Of every run.
    """

    target: str = "linear"
    inputs: int
    relevant: int
    examples: int
    hidden: tuple[int, ...]
    relu: bool = False
    noise: float
    learning_rate: float
    clip: float = math.inf
    steps: int

    def __post_init__(self) -> None:
        one_of("target", self.target, TARGETS)

    def data(self, seed: int) -> tuple[Tensor, Tensor]:
        """Inputs (2n, d) in float64, exactly centred, uncorrelated and of variance one; targets (2n, 1)."""
        x = torch.randn(self.examples, self.inputs, generator=generator(seed, "data"), dtype=torch.float64)
        x = x - x.mean(0)
        root = torch.linalg.cholesky(x.T @ x / len(x))
        x = torch.linalg.solve_triangular(root, x.T, upper=False).T
        y = TARGETS[self.target](x[:, : self.relevant])
        y = (y - y.mean()) / y.std(correction=0) if self.target == "staircase" else y
        return torch.cat([x, x]), torch.cat([y + self.noise, y - self.noise])[:, None]

    def data_of(self, seeds: Sequence[int], device: str) -> tuple[Tensor, Tensor]:
        """That of several seeds, inputs (r, 2n, d) and targets (r, 2n, 1), on a device."""
        x, y = zip(*(self.data(seed) for seed in seeds), strict=True)
        return torch.stack(x).to(device), torch.stack(y).to(device)

    def shown(self, batch: int, x: Tensor, y: Tensor, seeds: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """What the networks are shown, step by step, for ever.

        Args:
            batch: Random examples a step; 0: all of them, as a few rows where those have the same loss.
            x: Inputs of all replicas, (r, n, d).
            y: Their targets, (r, n, 1).
            seeds: One per replica, of the order of its examples.
        """
        if not batch:
            everything = (x, y) if self.relu else compressed(x, y)
            while True:
                yield everything
        replica = torch.arange(len(seeds), device=x.device)[:, None]
        for some in batches(x.shape[1], batch, seeds):
            at = some.to(x.device)
            yield x[replica, at], y[replica, at]
