"""What a way to take derivatives must offer."""

from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Tensor

__all__ = ["Engine", "Map", "Square"]


class Square(Protocol):
    """A symmetric matrix of the size of the parameters."""

    def times(self, v: Sequence[Tensor]) -> Sequence[Tensor | None]:
        """The product with tensors of the parameters' shapes; None stands for zeros."""
        ...


class Map(Protocol):
    """The first derivative J of some outputs with respect to the parameters."""

    @property
    def shapes(self) -> Sequence[tuple[int, ...]]:
        """Of the outputs."""
        ...

    def push(self, v: Sequence[Tensor]) -> Sequence[Tensor]:
        """``J v``, of the outputs' shapes."""
        ...

    def pull(self, u: Sequence[Tensor]) -> Sequence[Tensor | None]:
        """``J' u``, of the parameters' shapes; None stands for zeros."""
        ...


class Engine(Protocol):
    """Takes derivatives at the parameters' values of functions that read them."""

    def second(self, scalar: Callable[[], Tensor], parameters: Sequence[Tensor]) -> Square:
        """The second derivative of a scalar."""
        ...

    def first(self, outputs: Callable[[], Sequence[Tensor]], parameters: Sequence[Tensor]) -> Map:
        """The first derivative of some outputs."""
        ...
