"""Gradient norm aware minimisation."""

from dataclasses import dataclass
from typing import ClassVar

from lowland.blocks.radius import check_radius
from lowland.checks import at_least
from lowland.engine.method import Method
from lowland.engine.request import Direction, ball
from lowland.engine.step import Schedule, Step

__all__ = ["GAM"]


@dataclass(frozen=True, kw_only=True)
class GAM(Method):
    r"""First-order flatness: also lower the largest gradient nearby, :math:`d = q - \gamma\, p_\perp`.

    With :math:`g_0` at :math:`w`, :math:`g_1` at :math:`w + \rho_1 \hat g_0`, the step :math:`s` of length
    :math:`\rho_2` along :math:`g_1 - g_0`, :math:`g_2` at :math:`w + s` and :math:`g_3` at
    :math:`w + s + \rho_1 \hat g_2`: :math:`q = \beta_1 g_1 + \beta_3 g_3`, :math:`p = g_0 + \beta_2 g_2`, and
    :math:`p_\perp` is the part of :math:`p` at right angles to :math:`q`. The accelerated form of the released
    code. Four passes, nine extra copies of the weights within a step, no memory.

    Released defaults other than CIFAR-100's leave :math:`\beta_2` at 0, and its README's usage fails; the radii
    below are those of CIFAR-100 with a ResNet.

    Attributes:
        rho_1: Radius of the ascents, >= 0; a number or a schedule.
        rho_2: Length of the step towards larger gradients, >= 0; a number or a schedule.
        beta_1: Weight of the gradient above the weights.
        beta_2: Weight of the gradient at the second point.
        beta_3: Weight of the gradient above the second point.
        gamma: Weight of the part across, >= 0.

    References:
        Zhang, Xu, Yu, Zou, Cui, Gradient Norm Aware Minimization Seeks First-Order Flatness and Improves
        Generalization, CVPR 2023, algorithm 1. https://arxiv.org/abs/2303.03108
    """

    rho_1: Schedule = 0.02
    rho_2: Schedule = 0.2
    beta_1: float = 0.5
    beta_2: float = 0.5
    beta_3: float = 0.5
    gamma: float = 0.03

    PASSES: ClassVar = 4
    COPIES: ClassVar = 9
    REDUCES_TO: ClassVar = {"sgd": {"rho_1": 0.0, "beta_1": 1.0, "beta_3": 0.0, "beta_2": 0.0, "gamma": 0.0}}

    def __post_init__(self) -> None:
        check_radius("rho_1", self.rho_1)
        check_radius("rho_2", self.rho_2)
        for name in ("beta_1", "beta_2", "beta_3", "gamma"):
            at_least(name, getattr(self, name), 0)

    def direction(self, step: Step) -> Direction:
        """Chain four gradients, and mix what lies above with what lies across."""
        rho = step.radius(self.rho_1)
        g0 = yield step.gradient()
        g1 = yield step.gradient(at=ball(g0, rho))
        s = step.radius(self.rho_2) * step.perturbed(g1 - g0).unit()
        g2 = yield step.gradient(at=s)
        g3 = yield step.gradient(at=s.plus(step.perturbed(g2).unit(), rho))
        q, p = (self.beta_1 * g1).plus(g3, self.beta_3), g0.plus(g2, self.beta_2)
        return q.plus(p.rejected_from(q), -self.gamma)
