"""Bilateral sharpness-aware minimisation."""

from dataclasses import dataclass
from typing import ClassVar

from lowland.blocks.radius import check_radius
from lowland.engine.method import Method
from lowland.engine.request import Direction, ball
from lowland.engine.step import Schedule, Step
from lowland.vector import ratio

__all__ = ["BSAM"]


@dataclass(frozen=True, kw_only=True)
class BSAM(Method):
    r"""Lower the loss above, raise it below, :math:`d = g + h_+ - (\lVert h_+ \rVert / \lVert h_- \rVert)\, h_-`.

    :math:`h_+ = \nabla L(w + \rho\, \hat g)` and :math:`h_- = \nabla L(w - \rho_{\min}\, \hat g)`: besides the
    neighbourhood's maximum, its distance to the minimum is flattened. Three passes, four extra copies of the
    weights within a step, no memory.

    As the paper means it. The released code aliases its backup, so that it never restores the weights: every
    iteration moves them by :math:`\rho_{\min}` along the negative gradient besides; published numbers may
    include that. This is not bSAM, the Bayesian method of Moellenhoff and Khan.

    Attributes:
        rho: Radius of the maximum, >= 0; a number or a schedule.
        rho_min: Radius of the minimum, >= 0; the authors let it fall to 0: ``Cosine(0.05, 0.0, steps)``.

    References:
        Deng et al., Bilateral Sharpness-Aware Minimization for Flatter Minima, 2024.
        https://arxiv.org/abs/2409.13173
    """

    rho: Schedule = 0.05
    rho_min: Schedule = 0.05

    PASSES: ClassVar = 3
    COPIES: ClassVar = 4
    REDUCES_TO: ClassVar = {"sgd": {"rho": 0.0, "rho_min": 0.0}}

    def __post_init__(self) -> None:
        check_radius("rho", self.rho)
        check_radius("rho_min", self.rho_min)

    def direction(self, step: Step) -> Direction:
        """Join the clean gradient with those above and below."""
        g = yield step.gradient()
        above = yield step.gradient(at=ball(g, step(self.rho)))
        below = yield step.gradient(at=ball(g, step(self.rho_min), away=True))
        return g + above.plus(below, -ratio(above.norm(), below.norm()))
