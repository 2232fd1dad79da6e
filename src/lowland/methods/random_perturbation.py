"""The gradient at a random point nearby."""

from dataclasses import dataclass
from typing import ClassVar

from lowland.blocks.radius import check_radius
from lowland.engine.method import Method
from lowland.engine.request import Direction, ball
from lowland.engine.step import Schedule, Step

__all__ = ["RandomPerturbation"]


@dataclass(frozen=True, kw_only=True)
class RandomPerturbation(Method):
    r"""The gradient anywhere nearby, :math:`d = \nabla L(w + \rho\, z / \lVert z \rVert_2)` with :math:`z` normal.

    The control for every method that chooses its perturbation: as far, but anywhere. One pass, at the perturbed
    weights only, so that loss and batch-norm statistics are those there; one extra copy of the weights within a
    step, no memory.

    Attributes:
        rho: Radius, >= 0; a number or a schedule.

    References:
        Vani et al., Forget Sharpness: Perturbed Forgetting of Model Biases Within SAM Dynamics, ICML 2024
        (random control). https://arxiv.org/abs/2406.06700
    """

    rho: Schedule = 0.05

    PASSES: ClassVar = 1
    COPIES: ClassVar = 1
    CLEAN: ClassVar = False
    REDUCES_TO: ClassVar = {"sgd": {"rho": 0.0}}

    def __post_init__(self) -> None:
        check_radius("rho", self.rho)

    def direction(self, step: Step) -> Direction:
        """Go anywhere, and take the gradient found there."""
        z = step.noise()
        return (yield step.gradient(at=ball(z, step(self.rho)), spend=z))
