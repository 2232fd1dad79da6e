"""Random weight perturbation, mixed with the plain gradient."""

from dataclasses import dataclass
from typing import ClassVar

from lowland.blocks.radius import check_radius
from lowland.checks import fraction
from lowland.engine.method import Method
from lowland.engine.request import Direction
from lowland.engine.step import Schedule, Step

__all__ = ["RWP"]


@dataclass(frozen=True, kw_only=True)
class RWP(Method):
    r"""The plain gradient and one beside, :math:`d = (1 - \lambda)\, g + \lambda\, \nabla L(w + \tau)`.

    :math:`\tau \sim N(0, (\gamma \lVert f \rVert_2)^2)` by filter, as in LPF-SGD. Random directions need a
    larger spread than adversarial ones to matter, and the clean gradient keeps that from harming. Two passes,
    which do not depend on each other; three extra copies of the weights within a step, no memory.

    The authors take the two gradients on two halves of a batch, in parallel on two devices; here both are of the
    whole batch.

    Attributes:
        gamma: Spread relative to the filter's norm, >= 0; a number or a schedule.
        lam: Balance :math:`\lambda`, in [0, 1]; 0 is the plain gradient.

    References:
        Li et al., Revisiting Random Weight Perturbation for Efficiently Improving Generalization,
        TMLR 2024. https://arxiv.org/abs/2404.00357
    """

    gamma: Schedule = 0.01
    lam: float = 0.5

    PASSES: ClassVar = 2
    COPIES: ClassVar = 3
    REDUCES_TO: ClassVar = {"sgd": {"lam": 0.0}}

    def __post_init__(self) -> None:
        check_radius("gamma", self.gamma)
        fraction("lam", self.lam)

    def direction(self, step: Step) -> Direction:
        """Take both gradients, and mix them."""
        g = yield step.gradient()
        h = yield step.gradient(at=step.radius(self.gamma) * step.noise(per="filter"))
        return g.lerp(h, self.lam)
