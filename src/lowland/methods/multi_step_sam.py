"""SAM with several ascent steps."""

from dataclasses import dataclass
from typing import ClassVar

from lowland.blocks.radius import check_radius
from lowland.checks import at_least, whole
from lowland.engine.method import Method
from lowland.engine.request import Direction
from lowland.engine.step import Schedule, Step
from lowland.vector import Vector, ratio

__all__ = ["MultiStepSAM"]


@dataclass(frozen=True, kw_only=True)
class MultiStepSAM(Method):
    r"""SAM that climbs in several steps inside the ball, :math:`d = \nabla L(w + e_K)`.

    :math:`e_{j+1} = P_\rho(e_j + s\rho/K\, \hat g_j)` with :math:`g_j = \nabla L(w + e_j)`, :math:`e_0 = 0` and
    :math:`P_\rho` the projection to the ball. Closer to the worst point than one step, and rarely better for it.
    K + 1 passes, three extra copies of the weights within a step, no memory.

    Attributes:
        rho: Radius, >= 0; a number or a schedule.
        steps: Ascent steps K, >= 1; 1 is SAM.
        stretch: Length s of all steps together in units of rho, >= 0; above 1 a bent path still reaches the
            sphere.

    References:
        Andriushchenko, Flammarion, Towards Understanding Sharpness-Aware Minimization, ICML 2022, section 2.
        https://arxiv.org/abs/2206.06232
    """

    rho: Schedule = 0.05
    steps: int = 3
    stretch: float = 1.0

    PASSES: ClassVar = 4
    COPIES: ClassVar = 3
    REDUCES_TO: ClassVar = {"sgd": {"rho": 0.0}}

    def __post_init__(self) -> None:
        check_radius("rho", self.rho)
        whole("steps", self.steps)
        at_least("stretch", self.stretch, 0)

    @property
    def passes(self) -> float:
        """One more than the ascent steps."""
        return self.steps + 1

    def direction(self, step: Step) -> Direction:
        """Climb, staying in the ball, and take the gradient found at the top."""
        rho, e = step.radius(self.rho), Vector()
        g = yield step.gradient()
        for _ in range(self.steps):
            e = e.plus(step.perturbed(g).unit(), rho * self.stretch / self.steps)
            e = ratio(rho, e.norm()).clamp(max=1.0) * e
            g = yield step.gradient(at=e)
        return g
