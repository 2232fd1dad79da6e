"""SAM along the optimiser's momentum, in one pass."""

from dataclasses import dataclass
from typing import ClassVar

from lowland.blocks.radius import check_radius
from lowland.engine.method import Method
from lowland.engine.request import Direction, ball
from lowland.engine.step import Schedule, Step

__all__ = ["MomentumSAM"]


@dataclass(frozen=True, kw_only=True)
class MomentumSAM(Method):
    r"""Perturb along the momentum that is there anyway, :math:`d = \nabla L(w - \rho\, v / \lVert v \rVert_2)`.

    :math:`v` is the bound optimiser's momentum buffer (SGD) or first moment (Adam); the perturbation goes *on*
    in the direction of descent, as Nesterov's does, and not up. **One pass**: base cost; one extra copy of the
    weights within a step, no memory. The first step, without momentum, is plain.

    No pass is taken at the weights themselves: the loss that ``backward`` returns and batch-norm statistics are
    those at the perturbed weights. Between steps the weights are the clean ones, so nothing need be undone
    before evaluation. Weight decay acts at the clean weights; the released code has it at the perturbed ones,
    and undoes an old perturbation with the new radius. ``MSAM`` is m-sharpness; this is the paper's MSAM.

    Attributes:
        rho: Radius, >= 0; a number or a schedule. Released settings: 3 (CIFAR), 0.3 (ImageNet, ResNet-50), 10
            (vision transformer with AdamW, switched on after 8 epochs: ``Every(method=..., start=...)``).

    References:
        Becker, Altrock, Risse, Momentum-SAM: Sharpness Aware Minimization without Computational Overhead, 2024,
        algorithm 1. https://arxiv.org/abs/2401.12033
    """

    rho: Schedule = 0.3

    PASSES: ClassVar = 1
    COPIES: ClassVar = 1
    CLEAN: ClassVar = False
    REDUCES_TO: ClassVar = {"sgd": {"rho": 0.0}}

    def __post_init__(self) -> None:
        check_radius("rho", self.rho)

    def direction(self, step: Step) -> Direction:
        """Go on along the momentum, and take the gradient found there.

        Raises:
            ValueError: If the optimiser keeps none.
        """
        return (yield step.gradient(at=ball(step.momentum(), step(self.rho), away=True)))
