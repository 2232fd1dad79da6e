"""A sparse linear target, for a diagonal linear network to learn."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lowland.checks import whole
from lowland.experiments.large_steps import LEAST
from lowland.seeds import generator

__all__ = ["SPARSE_TARGET", "Diagonal", "SparseTarget"]

IN_USE = 1e-3
"""Size from which an entry of u v is in use."""


@dataclass(frozen=True, kw_only=True)
class SparseTarget:
    """Of Gaussian inputs the inner product with a sparse positive vector of length 1.

    Learnt by h(x) = <u * v, x>, from u = 0.1 and v = 0. See :class:`lowland.experiments.large_steps.Regression`.

    Attributes:
        inputs: Their dimension.
        nonzero: Entries of the target that are not 0, the first.
        examples: To train on.
        tests: Fresh ones to test on.
        steps: In all, at least 40.
        smallest: The smallest step size that is tried.
        growth: Of large steps.
    """

    inputs: int
    nonzero: int
    examples: int
    tests: int = 1000
    steps: int
    smallest: float = 0.05
    growth: float = 1.0

    def __post_init__(self) -> None:
        for name in ("nonzero", "examples", "tests"):
            whole(name, getattr(self, name))
        whole("inputs", self.inputs, self.nonzero)
        whole("steps", self.steps, LEAST)

    def start(self, seed: int) -> list[Tensor]:
        """The vectors u and v, each (1, d)."""
        return [torch.full((1, self.inputs), size, dtype=torch.float64) for size in (0.1, 0.0)]

    def data(self, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Inputs and targets to train on, and to test on."""
        stream = generator(seed, "data")
        x = torch.randn(self.examples + self.tests, self.inputs, generator=stream, dtype=torch.float64)
        target = torch.zeros(self.inputs, dtype=torch.float64)
        target[: self.nonzero] = torch.rand(self.nonzero, generator=stream, dtype=torch.float64)
        y, n = x @ nn.functional.normalize(target, dim=0), self.examples
        return x[:n], y[:n], x[n:], y[n:]

    def answers(self, weights: Sequence[Tensor], x: Tensor) -> Tensor:
        """Of all replicas, (r, n)."""
        u, v = weights
        return (x * (u * v)).sum(-1)

    def network(self, weights: Sequence[Tensor]) -> "Diagonal":
        """One replica as a module."""
        return Diagonal(*weights)

    def used(self, network: nn.Module, x: Tensor) -> dict[str, float]:
        """How many entries of u v are larger than ``IN_USE``, whatever the inputs."""
        u, v = network.parameters()
        return {"entries": float(((u * v).abs() > IN_USE).sum())}


class Diagonal(nn.Module):
    """The diagonal network <u * v, x>, of weights of shape (1, d)."""

    def __init__(self, u: Tensor, v: Tensor) -> None:
        super().__init__()
        self.u, self.v = nn.Parameter(u.detach().clone()), nn.Parameter(v.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Answers (n, 1) to inputs (n, d)."""
        return x @ (self.u * self.v).T


SPARSE_TARGET = SparseTarget(inputs=200, nonzero=20, examples=80, steps=40_000)
"""As in the released code, but for step sizes and steps, of which that has 100,000."""
