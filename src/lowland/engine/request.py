"""What a method asks for: a gradient, at the weights or beside them, on the whole batch or a shard of it."""

from collections.abc import Callable, Generator
from dataclasses import dataclass

from torch import Tensor

from lowland.checks import at_least
from lowland.vector import Vector

__all__ = ["Ball", "Direction", "Metric", "Request", "Shard", "ball"]

Metric = Callable[[str, Tensor], Tensor]
"""The diagonal ``T`` for a piece of a parameter: takes its name and weights, returns a tensor of their shape.

It must act element by element: the engine hands it pieces of large tensors.
"""


@dataclass(frozen=True)
class Ball:
    r"""The point of the ball of radius ``rho`` that lies furthest in a direction.

    :math:`e = \rho\, T^2 s / \lVert T s \rVert`, with :math:`T = 1` where no metric is given, over the
    parameters that the method perturbs. Zero where the norm is zero or not finite.
    """

    direction: Vector
    rho: float | Tensor
    metric: Metric | None = None


def ball(direction: Vector, rho: float | Tensor, metric: Metric | None = None) -> Ball:
    """The steepest perturbation of length ``rho`` along ``direction``; see :class:`Ball`.

    Raises:
        ValueError: If a schedule gave a plain number below 0 or not finite.
    """
    if not isinstance(rho, Tensor):
        at_least("rho", rho, 0)
    return Ball(direction, rho, metric)


@dataclass(frozen=True)
class Shard:
    """Some rows of one of the step's closures, and its share of that closure's examples."""

    closure: int
    start: int
    stop: int
    share: float

    @property
    def rows(self) -> slice:
        """The rows, as an index."""
        return slice(self.start, self.stop)


@dataclass(frozen=True)
class Request:
    """A gradient of the loss.

    Attributes:
        at: Offset from the weights; None asks at the weights themselves.
        on: Which examples; None is the whole step.
        spend: A vector that the method gives away: the backup of the weights takes over its storage, so that
            a step holds one extra copy of the weights and no more.
    """

    at: Ball | Vector | None = None
    on: Shard | None = None
    spend: Vector | None = None


Direction = Generator[Request, Vector, Vector]
"""A method's algorithm: yields requests, receives gradients, returns what goes to the optimiser."""
