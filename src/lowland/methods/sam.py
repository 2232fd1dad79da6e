"""Sharpness-aware minimisation."""

from dataclasses import dataclass
from typing import ClassVar

from lowland.blocks.radius import check_radius
from lowland.engine.method import Method
from lowland.engine.request import Direction, ball
from lowland.engine.step import Schedule, Step

__all__ = ["SAM"]


@dataclass(frozen=True, kw_only=True)
class SAM(Method):
    r"""Descend the loss at the worst point nearby, :math:`d = \nabla L(w + \rho\, g / \lVert g \rVert_2)`.

    One global norm over all perturbed parameters; the perturbation counts as a constant. Two passes, one
    extra copy of the weights within a step, no memory.

    Attributes:
        rho: Radius of the ball, in the units of the weights, >= 0; a number or a schedule. Foret et al. use
            0.05 (CIFAR-10, ImageNet) and 0.1 (CIFAR-100); vision transformers take 0.2 to 0.6.

    Note:
        The authors' JAX code keeps the L2 penalty in the loss, so that the perturbation ascends it too; here, as
        in the PyTorch versions, weight decay is the optimiser's unless the closure adds it.

    References:
        Foret, Kleiner, Mobahi, Neyshabur, Sharpness-Aware Minimization for Efficiently Improving Generalization,
        ICLR 2021, equations (2) and (3). https://arxiv.org/abs/2010.01412
    """

    rho: Schedule = 0.05

    PASSES: ClassVar = 2
    REDUCES_TO: ClassVar = {"sgd": {"rho": 0.0}}

    def __post_init__(self) -> None:
        check_radius("rho", self.rho)

    def direction(self, step: Step) -> Direction:
        """Ascend along the gradient, and take the gradient found there."""
        g = yield step.gradient()
        return (yield step.gradient(at=ball(g, step(self.rho)), spend=g))
