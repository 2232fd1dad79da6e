"""Curvature-regularised sharpness-aware minimisation."""

from dataclasses import dataclass
from typing import ClassVar

from lowland.blocks.radius import check_radius
from lowland.engine.method import Method
from lowland.engine.request import Direction, ball
from lowland.engine.step import Schedule, Step

__all__ = ["CRSAM"]


@dataclass(frozen=True, kw_only=True)
class CRSAM(Method):
    r"""SAM plus the trace of the Hessian, :math:`d = h_+ + \gamma (h_+ + h_- - 2g) + \beta (h_+ - h_-)`.

    :math:`h_\pm = \nabla L(w \pm \rho\, g / \lVert g \rVert_2)`: the second term is the gradient of a second
    difference of the loss, the third that of a first difference. Three passes, six extra copies of the weights
    within a step, no memory.

    As the released code has it. The paper takes logarithms of the two terms; the code stores the losses for that
    and does not use them, and lets batch-norm statistics also follow :math:`w - e`.

    Attributes:
        rho: Radius, >= 0; a number or a schedule.
        gamma: Weight of the curvature, >= 0.
        beta: Weight of the slope, >= 0.

    References:
        Wu, Luo, Wunsch, CR-SAM: Curvature Regularized Sharpness-Aware Minimization, AAAI 2024.
        https://arxiv.org/abs/2312.13555
    """

    rho: Schedule = 0.1
    gamma: Schedule = 0.1
    beta: Schedule = 0.01

    PASSES: ClassVar = 3
    COPIES: ClassVar = 6
    REDUCES_TO: ClassVar = {"sam": {"gamma": 0.0, "beta": 0.0}, "sgd": {"rho": 0.0}}

    def __post_init__(self) -> None:
        for name in ("rho", "gamma", "beta"):
            check_radius(name, getattr(self, name))

    def direction(self, step: Step) -> Direction:
        """Difference the gradients on both sides."""
        g = yield step.gradient()
        above = yield step.gradient(at=ball(g, step(self.rho)))
        below = yield step.gradient(at=ball(g, step(self.rho), away=True))
        bend, slope = (above + below).plus(g, -2.0), above - below
        return above.plus(bend, step(self.gamma)).plus(slope, step(self.beta))
