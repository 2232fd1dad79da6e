"""SAM in the ball of the Fisher metric."""

from dataclasses import dataclass
from typing import ClassVar

from lowland.blocks.radius import check_radius
from lowland.checks import at_least
from lowland.engine.method import Method
from lowland.engine.request import Direction
from lowland.engine.step import Schedule, Step
from lowland.vector import ratio

__all__ = ["FisherSAM"]


@dataclass(frozen=True, kw_only=True)
class FisherSAM(Method):
    r"""SAM in an ellipsoid of the model's own geometry, :math:`e = \rho\, F^{-1} g / \sqrt{g^\top F^{-1} g}`.

    :math:`F` is the diagonal of squared gradients of the batch, damped: :math:`F^{-1} = 1 / (1 + \eta g^2)`, so
    weights that the output hangs on move less. At :math:`\eta = 0` it is SAM. Two passes, three extra copies of
    the weights within a step, no memory. The form of the damping was not checked against the paper.

    Attributes:
        rho: Radius, >= 0; a number or a schedule.
        eta: Strength of the metric, >= 0, in units of one over a squared gradient.

    References:
        Kim, Li, Hospedales, Hu, Fisher SAM: Information Geometry and Sharpness Aware Minimisation, ICML 2022.
        https://arxiv.org/abs/2206.04920
    """

    rho: Schedule = 0.1
    eta: float = 1.0

    PASSES: ClassVar = 2
    COPIES: ClassVar = 3
    REDUCES_TO: ClassVar = {"sgd": {"rho": 0.0}}

    def __post_init__(self) -> None:
        check_radius("rho", self.rho)
        at_least("eta", self.eta, 0)

    def direction(self, step: Step) -> Direction:
        """Ascend the natural gradient, and take the gradient found there."""
        g = step.perturbed(step.unscaled((yield step.gradient())))
        natural = g.map(lambda part: part / (1 + self.eta * part * part))
        e = ratio(step.radius(self.rho), natural.dot(g).sqrt()) * natural
        return (yield step.gradient(at=e, spend=e))
