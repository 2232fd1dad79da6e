"""Surrogate-gap guided sharpness-aware minimisation."""

from dataclasses import dataclass
from typing import ClassVar

from lowland.blocks.radius import check_radius
from lowland.engine.method import Method
from lowland.engine.request import Direction, ball
from lowland.engine.step import Schedule, Step

__all__ = ["GSAM"]


@dataclass(frozen=True, kw_only=True)
class GSAM(Method):
    r"""SAM that also closes the gap between perturbed and clean loss, :math:`d = h - \alpha\, g_\perp`.

    :math:`h = \nabla L(w + e)` and :math:`g_\perp` is the part of the clean gradient :math:`g` at right angles to
    it: going against it widens neither loss to first order but lowers their difference. Two passes, three extra
    copies of the weights within a step, no memory.

    Attributes:
        rho: Radius, >= 0; a number or a schedule. The paper lets it follow the learning rate:
            ``ProportionalToLearningRate(high=0.04, low=0.02, ...)`` for ResNets.
        alpha: Weight of the gap, >= 0: 0.01 for ResNets, 0.4 to 1.0 for vision transformers.

    References:
        Zhuang et al., Surrogate Gap Minimization Improves Sharpness-Aware Training, ICLR 2022, algorithm 1.
        https://arxiv.org/abs/2203.08065
    """

    rho: Schedule = 0.05
    alpha: Schedule = 0.4

    PASSES: ClassVar = 2
    COPIES: ClassVar = 3
    REDUCES_TO: ClassVar = {"sam": {"alpha": 0.0}}

    def __post_init__(self) -> None:
        check_radius("rho", self.rho)
        check_radius("alpha", self.alpha)

    def direction(self, step: Step) -> Direction:
        """Take the perturbed gradient less alpha times the clean one's part at right angles."""
        g = yield step.gradient()
        h = yield step.gradient(at=ball(g, step(self.rho)))
        return h.plus(g.rejected_from(h), -step(self.alpha))
