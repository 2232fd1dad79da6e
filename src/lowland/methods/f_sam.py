"""Friendly sharpness-aware minimisation."""

from dataclasses import dataclass
from typing import ClassVar

from lowland.blocks.radius import check_radius
from lowland.checks import at_least, fraction
from lowland.engine.method import Method
from lowland.engine.request import Direction, ball
from lowland.engine.step import Schedule, Step
from lowland.vector import Vector

__all__ = ["FSAM"]


@dataclass(frozen=True, kw_only=True)
class FSAM(Method):
    r"""SAM along the batch's own part of the gradient, :math:`e \propto g - \sigma m`, of length :math:`\rho`.

    :math:`m \leftarrow \lambda m + (1 - \lambda) g` estimates the full gradient, so that what is ascended is the
    batch's noise. Two passes, three extra copies of the weights within a step, and :math:`m`, one copy, between
    them.

    As in the paper, :math:`m` starts at zero and is updated before it is subtracted. The released code starts at
    the first gradient and subtracts the previous :math:`m`; a widespread copy feeds :math:`g - \sigma m` back
    into :math:`m`, which is another algorithm.

    Attributes:
        rho: Radius, >= 0; a number or a schedule. The authors use 0.2 on CIFAR-100.
        sigma: Share of the full gradient that is taken out, >= 0; 0 is SAM.
        lam: Decay :math:`\lambda` of the mean, in [0, 1): the released code has 0.9 in the class, 0.95 in its
            script, and its logs are best with 0.95 and 0.6.

    References:
        Li, Zhou, He, Cheng, Huang, Friendly Sharpness-Aware Minimization, CVPR 2024, algorithm 1.
        https://arxiv.org/abs/2403.12350
    """

    rho: Schedule = 0.1
    sigma: float = 1.0
    lam: float = 0.9

    PASSES: ClassVar = 2
    COPIES: ClassVar = 3
    KEEPS: ClassVar = 1
    REDUCES_TO: ClassVar = {"sam": {"sigma": 0.0}, "sgd": {"rho": 0.0}}

    def __post_init__(self) -> None:
        check_radius("rho", self.rho)
        at_least("sigma", self.sigma, 0)
        fraction("lam", self.lam, one=False)

    def direction(self, step: Step) -> Direction:
        """Ascend along what sets this batch's gradient apart from the running mean."""
        g = yield step.gradient()
        m = (step.recall("m") or Vector()).lerp(g, 1 - self.lam)
        step.remember("m", m)
        s = g.plus(m, -self.sigma)
        return (yield step.gradient(at=ball(s, step(self.rho)), spend=s))
