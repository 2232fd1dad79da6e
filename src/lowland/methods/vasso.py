"""Variance-suppressed sharpness-aware optimisation."""

from dataclasses import dataclass
from typing import ClassVar

from lowland.blocks.radius import check_radius
from lowland.checks import fraction
from lowland.engine.method import Method
from lowland.engine.request import Direction, ball
from lowland.engine.step import Schedule, Step

__all__ = ["VaSSO"]


@dataclass(frozen=True, kw_only=True)
class VaSSO(Method):
    r"""SAM along a running mean of the gradients, :math:`e = \rho\, s / \lVert s \rVert_2`.

    :math:`s \leftarrow (1 - \theta) s + \theta g`: one batch's gradient is a noisy direction to ascend, its mean
    over steps is less so. Two passes, two extra copies of the weights within a step, and :math:`s`, one copy,
    between them. The mean starts at the first gradient.

    Attributes:
        rho: Radius, >= 0; a number or a schedule.
        theta: Weight of the *new* gradient, in (0, 1]; 1 is SAM. The released code has 0.9.

    References:
        Li, Giannakis, Enhancing Sharpness-Aware Optimization Through Variance Suppression, NeurIPS 2023,
        algorithm 1. https://arxiv.org/abs/2309.15639
    """

    rho: Schedule = 0.1
    theta: float = 0.9

    PASSES: ClassVar = 2
    COPIES: ClassVar = 2
    KEEPS: ClassVar = 1
    REDUCES_TO: ClassVar = {"sam": {"theta": 1.0}, "sgd": {"rho": 0.0}}

    def __post_init__(self) -> None:
        check_radius("rho", self.rho)
        fraction("theta", self.theta, zero=False)

    def direction(self, step: Step) -> Direction:
        """Ascend along the running mean, and take the gradient found there."""
        g = yield step.gradient()
        s = (step.recall("s") or g).lerp(g, self.theta)
        step.remember("s", s)
        return (yield step.gradient(at=ball(s, step(self.rho)), spend=g))
