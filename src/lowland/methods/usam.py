"""Sharpness-aware minimisation without normalisation."""

from dataclasses import dataclass
from typing import ClassVar

from lowland.blocks.radius import check_radius
from lowland.engine.method import Method
from lowland.engine.request import Direction
from lowland.engine.step import Schedule, Step

__all__ = ["USAM"]


@dataclass(frozen=True, kw_only=True)
class USAM(Method):
    r"""SAM with a perturbation as long as the gradient is, :math:`d = \nabla L(w + \rho\, g)`.

    The form of most theory. Near a minimum the perturbation vanishes with the gradient, where SAM's stays; far
    from one it may be large: a gradient of norm 10 and a radius of 0.05 move the weights by 0.5. On a quadratic of
    curvature :math:`\lambda` with learning rate :math:`\eta` it is stable iff
    :math:`\eta\lambda(1 + \rho\lambda) < 2`. Two passes, two extra copies of the weights within a step, no memory.
    With loss scaling the gradient is unscaled first, so the scale changes nothing.

    Attributes:
        rho: Factor on the gradient, >= 0; a number or a schedule.

    References:
        Andriushchenko, Flammarion, Towards Understanding Sharpness-Aware Minimization, ICML 2022, section 2.
        https://arxiv.org/abs/2206.06232
        Dai, Ahn, Sra, The Crucial Role of Normalization in Sharpness-Aware Minimization, NeurIPS 2023.
        https://arxiv.org/abs/2305.15287
    """

    rho: Schedule = 0.05

    PASSES: ClassVar = 2
    COPIES: ClassVar = 2
    REDUCES_TO: ClassVar = {"sgd": {"rho": 0.0}}

    def __post_init__(self) -> None:
        check_radius("rho", self.rho)

    def direction(self, step: Step) -> Direction:
        """Go along the gradient itself, and take the gradient found there."""
        g = step.unscaled((yield step.gradient()))
        return (yield step.gradient(at=step.radius(self.rho) * g, spend=g))
