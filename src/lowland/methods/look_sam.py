"""SAM on every k-th step, its effect reused in between."""

from dataclasses import dataclass
from typing import ClassVar

from lowland.blocks.radius import check_radius
from lowland.checks import whole
from lowland.engine.method import Method
from lowland.engine.request import Direction, ball
from lowland.engine.step import Schedule, Step

__all__ = ["LookSAM"]


@dataclass(frozen=True, kw_only=True)
class LookSAM(Method):
    r"""SAM every k steps, and in between a part of it that keeps, :math:`d = g + \alpha \lVert g \rVert\, \hat v`.

    On a SAM step :math:`h = \nabla L(w + e)` is the direction, and
    :math:`v = h - \langle h, \hat g \rangle \hat g`, its part at right angles to the gradient, which changes
    slowly, is kept as :math:`\hat v = v / \lVert v \rVert_2`. 1 + 1/k passes, as only every k-th step takes two;
    three extra copies of the weights within a step, and :math:`\hat v`, one copy, between them.

    One norm and one projection over all weights. Released re-implementations take them tensor by tensor, and a
    widespread one takes two passes on every step.

    Attributes:
        rho: Radius, >= 0; a number or a schedule.
        k: Steps from one SAM step to the next, >= 1; 1 is SAM. The paper uses 5 and 10.
        alpha: Weight of the kept part, >= 0; the paper uses 0.7.

    References:
        Liu, Mai, Chen, Hsieh, You, Towards Efficient and Scalable Sharpness-Aware Minimization, CVPR 2022,
        algorithm 1. https://arxiv.org/abs/2203.02714
    """

    rho: Schedule = 0.1
    k: int = 5
    alpha: Schedule = 0.7

    PASSES: ClassVar = 1.2
    COPIES: ClassVar = 3
    KEEPS: ClassVar = 1
    REDUCES_TO: ClassVar = {"sam": {"k": 1}, "every": {"alpha": 0.0, "rho": 0.05}}

    def __post_init__(self) -> None:
        check_radius("rho", self.rho)
        check_radius("alpha", self.alpha)
        whole("k", self.k)

    @property
    def passes(self) -> float:
        """1 + 1/k."""
        return 1 + 1 / self.k

    def direction(self, step: Step) -> Direction:
        """Take SAM's gradient and keep its part across, or add the kept part to the plain gradient."""
        g, v = (yield step.gradient()), step.recall("v")
        if v is not None and step.turn % self.k:
            return g.plus(v, step(self.alpha) * g.norm())
        h = yield step.gradient(at=ball(g, step(self.rho)))
        step.remember("v", (h - g).rejected_from(g).unit(), degree=0)
        return h
