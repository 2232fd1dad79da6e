"""The highest point of a function in a ball, by going uphill."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from lowland.measuring.ball import Ball

__all__ = ["Peak", "Slope", "ascend"]

Slope = Callable[[Tensor], tuple[float, Tensor]]
"""A function's value and gradient."""


class Peak(NamedTuple):
    """A point, with the function's value and gradient there."""

    value: float
    u: Tensor
    g: Tensor

    @classmethod
    def at(cls, slope: Slope, u: Tensor) -> "Peak":
        """What a function says at ``u``."""
        value, g = slope(u)
        return cls(value, u, g)


def ascend(slope: Slope, ball: Ball, start: Peak, steps: int) -> Peak:
    """Projected ascent that never goes down, so that its last point is its best.

    A step goes eta radii along the gradient, and back into the ball. If that is uphill it is taken and eta
    doubled, else eta is quartered. With a large eta the next point is the one furthest along the gradient, by
    which convex functions converge fast; with a small one every smooth function rises.

    Args:
        slope: The function.
        ball: Where to stay.
        start: A point of the ball.
        steps: Evaluations of the function.
    """
    peak, eta = start, 1.0
    for _ in range(steps):
        found = Peak.at(slope, ball.nearest(peak.u + eta * ball.furthest(peak.g)))
        peak, eta = (found, eta * 2) if found.value > peak.value else (peak, eta / 4)
    return peak
