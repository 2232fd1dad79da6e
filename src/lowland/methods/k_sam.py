"""SAM on the examples with the largest loss."""

from dataclasses import dataclass
from typing import ClassVar

from lowland.blocks.largest import largest
from lowland.blocks.radius import check_radius
from lowland.checks import fraction
from lowland.engine.method import Method
from lowland.engine.request import Direction, ball
from lowland.engine.step import Schedule, Step
from lowland.vector import Vector

__all__ = ["KSAM"]


@dataclass(frozen=True, kw_only=True)
class KSAM(Method):
    r"""SAM on the hardest examples only, :math:`d = \nabla L_K(w + \rho\, g_K / \lVert g_K \rVert_2)`.

    :math:`K` are the examples of the batch with the largest loss at :math:`w`, found by one forward pass. Twice
    the share in passes and one forward pass; two extra copies of the weights within a step, no memory. Needs
    examples: pass a :func:`lowland.objective`.

    Attributes:
        rho: Radius, >= 0; a number or a schedule.
        share: The paper's k over the batch size, in (0, 1]; 1 is SAM.

    References:
        Ni, Chiang, Geiping, Goldblum, Wilson, Goldstein, K-SAM: Sharpness-Aware Minimization at the Speed of SGD,
        2022. https://arxiv.org/abs/2210.12864
    """

    rho: Schedule = 0.05
    share: float = 0.5

    PASSES: ClassVar = 1
    FORWARDS: ClassVar = 1
    COPIES: ClassVar = 2
    REDUCES_TO: ClassVar = {"sam": {"share": 1.0}, "sgd": {"rho": 0.0, "share": 1.0}}

    def __post_init__(self) -> None:
        check_radius("rho", self.rho)
        fraction("share", self.share, zero=False)

    @property
    def passes(self) -> float:
        """Twice the share."""
        return 2 * self.share

    @property
    def forwards(self) -> float:
        """1, or 0 where every example is taken."""
        return float(self.share < 1)

    def direction(self, step: Step) -> Direction:
        """Look which losses are largest, and take SAM's two gradients there."""
        step.objectives()
        if self.share == 1:
            g = yield step.gradient()
            return (yield step.gradient(at=ball(g, step(self.rho)), spend=g))
        hardest = []
        for whole in step.shards():
            losses = yield step.losses(on=whole)
            hardest.append(step.subset(whole.closure, largest(losses, self.share)))
        g, d = Vector(), Vector()
        for subset in hardest:
            g = g + (yield step.gradient(on=subset))
        for subset in hardest:
            d = d + (yield step.gradient(at=ball(g, step(self.rho)), on=subset))
        return d
