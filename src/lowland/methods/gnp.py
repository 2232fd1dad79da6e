"""Penalising the gradient norm."""

from dataclasses import dataclass
from typing import ClassVar

from lowland.blocks.radius import check_radius
from lowland.engine.method import Method
from lowland.engine.request import Direction, ball
from lowland.engine.step import Schedule, Step

__all__ = ["GNP"]


@dataclass(frozen=True, kw_only=True)
class GNP(Method):
    r"""Penalise the gradient's norm, :math:`d = (1 - \alpha)\, g + \alpha\, \nabla L(w + \rho\, \hat g)`.

    To first order the gradient of :math:`L + \lambda \lVert \nabla L \rVert_2` with
    :math:`\lambda = \alpha\rho`: the second term differences the gradient along itself instead of taking a
    Hessian product. Also called PGN. At :math:`\alpha = 1` it is SAM. Two passes, two extra copies of the
    weights within a step, no memory.

    The released JAX code by default mixes the *unit* gradient into the direction instead of :math:`g`; here, as in
    the paper, it is :math:`g`.

    Attributes:
        rho: Length of the difference, >= 0 (the paper's r); a number or a schedule.
        alpha: Balance, >= 0; a number or a schedule. For Adam, warm it up from 0: early regularisation harms it.

    References:
        Zhao, Zhang, Hu, Penalizing Gradient Norm for Efficiently Improving Generalization in Deep Learning,
        ICML 2022, algorithm 1. https://arxiv.org/abs/2202.03599
    """

    rho: Schedule = 0.05
    alpha: Schedule = 0.8

    PASSES: ClassVar = 2
    COPIES: ClassVar = 2
    REDUCES_TO: ClassVar = {"sam": {"alpha": 1.0}, "sgd": {"alpha": 0.0}}

    def __post_init__(self) -> None:
        check_radius("rho", self.rho)
        check_radius("alpha", self.alpha)

    def direction(self, step: Step) -> Direction:
        """Mix the clean and the perturbed gradient."""
        g = yield step.gradient()
        h = yield step.gradient(at=ball(g, step(self.rho)))
        return g.lerp(h, step(self.alpha))
