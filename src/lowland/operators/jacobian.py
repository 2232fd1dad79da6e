"""The Jacobian of the outputs over all examples."""

import time
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from lowland.operators.batch import Batch
from lowland.operators.choice import Choice
from lowland.operators.derivatives.engine import Engine, Map
from lowland.operators.kept import Kept
from lowland.operators.operator import Operator
from lowland.operators.outputs import Outputs
from lowland.operators.problem import Problem

__all__ = ["Jacobian", "jacobian"]


def jacobian(problem: Problem) -> "Jacobian":
    """The derivative of all outputs with respect to the parameters: one row for each number that the model gives.

    Rows come batch by batch; within a batch, output tensor by output tensor, each flattened.

    Cost:
        ``J @ v`` and ``J.T @ u`` two thirds of a gradient each; one forward pass to begin with.
    """
    return Jacobian(problem)


class Jacobian(Operator):
    """Known by its products from both sides.

    Attributes:
        problem: What it is of.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        with problem.calm(), torch.no_grad():
            self._rows = [sum(z.numel() for z in Outputs(problem, b).leaves()) for b in problem.batches]
        super().__init__((sum(self._rows), problem.size), problem.dtype, problem.device, symmetric=False)
        self._choice = Choice("jacobian", problem.settings.engine)
        self._kept: Kept[Map] = Kept(problem)
        self._seconds = 0.0

    @property
    def gradients(self) -> float:
        """What the products have cost so far, in units of one gradient over the data, by the clock."""
        return self._seconds / self.problem.gradient_seconds

    @property
    def kept(self) -> int:
        """Batches whose graphs are kept at the moment."""
        return len(self._kept)

    def multiply(self, block: Tensor) -> Tensor:
        """``J`` times a block of columns, of shape ``(P, k)``."""
        start = time.perf_counter()
        columns = [self.problem.split(column) for column in block.T.contiguous()]
        with self.problem.calm():
            pieces = [
                torch.stack([_flat(part.push(v)) for v in columns], 1) for _, part in self._kept.each(self._map)
            ]
        self._seconds += time.perf_counter() - start
        return torch.cat(pieces)

    def multiply_transposed(self, block: Tensor) -> Tensor:
        """``J'`` times a block of columns, of shape ``(rows, k)``."""
        start = time.perf_counter()
        total = block.new_zeros(block.shape[1], self.problem.size)
        pieces = block.T.split(self._rows, dim=1)
        with self.problem.calm():
            for (_, part), us in zip(self._kept.each(self._map), pieces, strict=True):
                for row, u in zip(total, us, strict=True):
                    row += self.problem.join(part.pull(_shaped(u, part)))
        self._seconds += time.perf_counter() - start
        return total.T

    def _map(self, batch: Batch) -> Map:
        engine = self._choice.engine
        return self._choice.settle(partial(self._tried, batch)) if engine is None else self._with(batch, engine)

    def _tried(self, batch: Batch, engine: Engine) -> Map:
        found = self._with(batch, engine)
        found.push([torch.zeros_like(w) for w in self.problem.weights])
        return found

    def _with(self, batch: Batch, engine: Engine) -> Map:
        return engine.first(Outputs(self.problem, batch).leaves, self.problem.weights)


def _flat(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.reshape(-1) for part in parts])


def _shaped(u: Tensor, part: Map) -> list[Tensor]:
    """A flat vector in the shapes of the outputs."""
    pieces = u.split([torch.Size(shape).numel() for shape in part.shapes])
    return [piece.view(shape) for piece, shape in zip(pieces, part.shapes, strict=True)]
