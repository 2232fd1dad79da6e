"""Matrices of the form J' B J: the outputs' Jacobian around a matrix of the size of the outputs."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from lowland.operators.derivatives.engine import Map

__all__ = ["Middle", "Sandwich"]


class Middle(Protocol):
    """B, by its products."""

    def times(self, v: Sequence[Tensor]) -> Sequence[Tensor]:
        """The product with tensors of the outputs' shapes."""
        ...


class Sandwich:
    """What one batch adds to J' B J."""

    def __init__(self, jacobian: Map, middle: Middle) -> None:
        self.jacobian, self.middle = jacobian, middle

    def times(self, v: Sequence[Tensor]) -> Sequence[Tensor | None]:
        """The product with tensors of the parameters' shapes; None stands for zeros."""
        return self.jacobian.pull(self.middle.times(self.jacobian.push(v)))
