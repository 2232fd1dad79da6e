"""A symmetric matrix of second derivatives: a mean over examples, of the size of the parameters."""

import time
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from lowland.checks import one_of
from lowland.operators.batch import Batch
from lowland.operators.choice import Choice
from lowland.operators.derivatives.engine import Engine, Square
from lowland.operators.derivatives.finite_difference import FiniteDifference
from lowland.operators.kept import Kept
from lowland.operators.mean import Mean
from lowland.operators.operator import Operator
from lowland.operators.problem import Problem
from lowland.operators.verify import refuse_asymmetric, refuse_contradicted
from lowland.seeds import generator

__all__ = ["Curvature", "Make"]

Make = Callable[[Problem, Batch, Engine], Square]
"""Makes of a batch what it adds to the matrix."""


class Curvature(Operator):
    """The matrix that a function makes of every batch, averaged over examples.

    Attributes:
        name: What it is, such as ``hessian``.
        problem: What it is of.
    """

    def __init__(self, name: str, problem: Problem, make: Make) -> None:
        super().__init__((problem.size, problem.size), problem.dtype, problem.device, symmetric=True)
        self.name, self.problem, self._make = name, problem, make
        self._choice = Choice(name, problem.settings.engine)
        self._kept: Kept[Square] = Kept(problem)
        self._sound = False
        self._seconds = 0.0

    @property
    def engine(self) -> str:
        """How its derivatives are taken; ``auto`` before the first product where the choice was left open."""
        return self._choice.name

    @property
    def why(self) -> str:
        """Why in that way, in words."""
        return self._choice.why

    @property
    def gradients(self) -> float:
        """What the products have cost so far, in units of one gradient over the data, by the clock."""
        return self._seconds / self.problem.gradient_seconds

    @property
    def kept(self) -> int:
        """Batches whose graphs are kept at the moment."""
        return len(self._kept)

    def multiply(self, block: Tensor) -> Tensor:
        """The product with a block, batch by batch, all columns within a batch.

        Raises:
            ValueError: If it is not finite.
        """
        start = time.perf_counter()
        columns = [self.problem.split(column) for column in block.T.contiguous()]
        with self.problem.calm():
            mean = Mean(torch.empty_like(block.T), self.problem.join)
            for batch, part in self._kept.each(self._part):
                mean.add((part.times(v) for v in columns), batch.count)
        product = mean.result()
        if self._kept.fresh and not torch.isfinite(product.sum()):  # if one product is, all are
            self._kept.clear()
            raise ValueError(f"The {self.name}'s product must be finite, got inf or nan. Has training diverged?")
        self._seconds += time.perf_counter() - start
        return product.T

    def blocks(self, by: Literal["layer", "parameter"] = "layer") -> "dict[str, Curvature]":
        """The blocks on the diagonal, one for each module with parameters of its own, or for each parameter.

        Raises:
            ValueError: If ``by`` is neither.
        """
        one_of("by", by, ["layer", "parameter"])
        groups: dict[str, list[str]] = {}
        for name in self.problem.parameters:
            groups.setdefault(name if by == "parameter" else name.rpartition(".")[0], []).append(name)
        return {key: Curvature(self.name, self.problem.only(g), self._make) for key, g in groups.items()}

    def _part(self, batch: Batch) -> Square:
        if self._sound and self._choice.engine is not None:
            return self._make(self.problem, batch, self._choice.engine)
        u, v = self._random()
        part, Av = self._choice.settle(lambda engine: self._tried(batch, engine, v))
        if self.problem.settings.check and self.engine != "finite_difference":
            self._check(batch, u, self._times(part, u), v, Av)
        self._sound = True
        return part

    def _tried(self, batch: Batch, engine: Engine, v: Tensor) -> tuple[Square, Tensor]:
        part = self._make(self.problem, batch, engine)
        return part, self._times(part, v)

    def _check(self, batch: Batch, u: Tensor, Au: Tensor, v: Tensor, Av: Tensor) -> None:
        precision = self.problem.settings.autocast or self.dtype
        refuse_asymmetric(self.name, u, Au, v, Av, torch.finfo(precision).eps)
        if precision == torch.float64:  # in others the differences' own error hides most faults
            live = v * (Av != 0)  # the loss depends on an embedding's padding, but its gradient says it does not
            near, far = (self._tried(batch, FiniteDifference(stretch), live)[1] for stretch in (1.0, 2.0))
            refuse_contradicted(self.name, Av, near, far)

    def _times(self, part: Square, v: Tensor) -> Tensor:
        return self.problem.join(part.times(self.problem.split(v)))

    def _random(self) -> list[Tensor]:
        draws = [generator(0, "check", i, device=self.device) for i in range(2)]
        return [torch.randn(self.problem.size, generator=d, dtype=self.dtype, device=self.device) for d in draws]
