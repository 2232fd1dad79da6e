"""SAM that ascends on other data than it descends on."""

from dataclasses import dataclass
from typing import ClassVar

from lowland.blocks.radius import check_radius
from lowland.engine.method import Method
from lowland.engine.request import Direction, ball
from lowland.engine.step import Schedule, Step

__all__ = ["StaleSAM"]


@dataclass(frozen=True, kw_only=True)
class StaleSAM(Method):
    r"""SAM along the gradient of the batch before, :math:`d = \nabla L_t(w_t + \rho\, \hat g_{t-1})`.

    What is left of SAM when the perturbation knows nothing of the batch: the control for m-sharpness (n-SAM's
    stand-in), and the rule by which AsyncSAM overlaps the two gradients. Here both passes are taken, one after
    the other, as the clean gradient is the next step's. Two passes, two extra copies of the weights within a
    step and the kept gradient, one copy, between them. The first step ascends along its own.

    Attributes:
        rho: Radius, >= 0; a number or a schedule.

    References:
        Andriushchenko, Flammarion, Towards Understanding Sharpness-Aware Minimization, ICML 2022, section 3
        (perturbations from other data). https://arxiv.org/abs/2206.06232
    """

    rho: Schedule = 0.05

    PASSES: ClassVar = 2
    COPIES: ClassVar = 2
    KEEPS: ClassVar = 1
    REDUCES_TO: ClassVar = {"sgd": {"rho": 0.0}}

    def __post_init__(self) -> None:
        check_radius("rho", self.rho)

    def direction(self, step: Step) -> Direction:
        """Ascend along the batch before's gradient, and keep this one's."""
        g = yield step.gradient()
        step.remember("g", g)
        before = step.recall("g") or g
        return (yield step.gradient(at=ball(before, step(self.rho))))
