"""What a method asks for: a gradient, at the weights or beside them, on the whole batch or a part of it."""

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from lowland.checks import at_least, one_of
from lowland.engine.objective import Loss
from lowland.vector import Vector

__all__ = ["Ball", "Direction", "Look", "Matrix", "Metric", "Part", "Request", "Shard", "Subset", "ball"]

Metric = Callable[[str, Tensor], Tensor]
"""The diagonal ``T`` for a piece of a parameter: takes its name and weights, returns a tensor of their shape.

It must act element by element: the engine hands it pieces of large tensors.
"""


@dataclass(frozen=True)
class Ball:
    r"""The point of the ball of radius ``rho`` that lies furthest in a direction ``s``.

    :math:`e = \rho\, T^2 s / \lVert T s \rVert_2`, with :math:`T = 1` where no metric is given, over the
    parameters that the method perturbs. For a ball of another ``order`` p, with :math:`1/p + 1/q = 1`,
    :math:`e = \rho\, T \operatorname{sign}(s)\, |T s|^{q-1} / \lVert T s \rVert_q^{q-1}`. With ``per="tensor"``
    every tensor has a ball of its own, of radius :math:`\rho \lVert w_l \rVert_2`. With ``away`` it is :math:`-e`,
    the point opposite. Zero where the norm is zero or not finite.
    """

    direction: Vector
    rho: float | Tensor
    metric: Metric | None = None
    order: float = 2.0
    per: Literal["model", "tensor"] = "model"
    away: bool = False

    @property
    def dual(self) -> float:
        """The order q of the dual norm."""
        return 1.0 if math.isinf(self.order) else self.order / (self.order - 1)


def ball(
    direction: Vector,
    rho: float | Tensor,
    metric: Metric | None = None,
    *,
    order: float = 2.0,
    per: Literal["model", "tensor"] = "model",
    away: bool = False,
) -> Ball:
    """The steepest perturbation of length ``rho`` along ``direction``; see :class:`Ball`.

    Raises:
        ValueError: If a schedule gave a plain number below 0 or not finite, or the order is not above 1.
    """
    if not isinstance(rho, Tensor):
        at_least("rho", rho, 0)
    if not order > 1:
        raise ValueError(f"order must be above 1, up to infinity, got {order}.")
    one_of("per", per, ["model", "tensor"])
    return Ball(direction, rho, metric, order, per, away)


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


@dataclass(frozen=True, eq=False)
class Subset:
    """Chosen rows of one of the step's closures, and their share of that closure's examples."""

    closure: int
    rows: Tensor
    share: float


Part = Shard | Subset
"""Some of the examples of one closure."""


Matrix = Literal["hessian", "gauss_newton"]
"""The second derivative of the loss; or its part that is left where the outputs are linear in the weights."""


@dataclass(frozen=True)
class Request:
    """A gradient of the loss, or a product of a matrix of its second derivatives with a vector.

    Attributes:
        at: Offset from the weights; None asks at the weights themselves.
        on: Which examples; None is the whole step.
        spend: A vector that the method gives away: the backup of the weights takes over its storage, so that
            a step holds one extra copy of the weights and no more.
        loss: What to differentiate in place of the criterion.
        along: The vector to multiply with; None asks for the gradient. Only the parameters that the method
            perturbs count, each longer or shorter as its perturbation would be.
        matrix: What to multiply it with.
    """

    at: Ball | Vector | None = None
    on: Part | None = None
    spend: Vector | None = None
    loss: Loss | None = None
    along: Vector | None = None
    matrix: Matrix = "hessian"


@dataclass(frozen=True)
class Look:
    """The loss of every example, by a forward pass alone; answered with a tensor of shape ``(n,)``."""

    on: Part
    at: Ball | Vector | None = None


Direction = Generator[Request | Look, Any, Vector]
"""A method's algorithm: yields requests, receives gradients, returns what goes to the optimiser."""
