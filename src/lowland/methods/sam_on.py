"""SAM on the normalisation layers only."""

from dataclasses import dataclass
from typing import ClassVar

from lowland.blocks.mask import norm_only
from lowland.blocks.radius import check_order, check_radius
from lowland.engine.method import Method
from lowland.engine.request import Direction, ball
from lowland.engine.sites import Where
from lowland.engine.step import Schedule, Step

__all__ = ["SAMON"]


@dataclass(frozen=True, kw_only=True)
class SAMON(Method):
    r"""SAM whose perturbation moves only the scales and shifts of normalisation layers.

    :math:`e = \rho\, M g / \lVert M g \rVert_2` with :math:`M` the mask; every parameter is trained on the
    gradient at :math:`w + e`. About a thousandth of the weights move, and the backup is as small. Two passes,
    no memory. Normalisation layers are told by their kind (batch, layer, group, instance, RMS), not by their name.

    Attributes:
        rho: Radius, >= 0; a number or a schedule. The best one is 2 to 10 times SAM's: 1.0 where SAM has 0.2
            (WRN-28-10 on CIFAR-100).
        p: Order of the ball's norm, > 1, up to ``inf``. For the adaptive kinds:
            ``ASAM(p=inf).bind(model, where=lowland.norm_only)``.

    References:
        Mueller, Vlaar, Rolnick, Hein, Normalization Layers Are All That Sharpness-Aware Minimization Needs,
        NeurIPS 2023. https://arxiv.org/abs/2306.04226
    """

    rho: Schedule = 0.5
    p: float = 2.0

    PASSES: ClassVar = 2
    COPIES: ClassVar = 1
    REDUCES_TO: ClassVar = {"sgd": {"rho": 0.0}}

    def __post_init__(self) -> None:
        check_radius("rho", self.rho)
        check_order("p", self.p)

    @property
    def where(self) -> Where:
        """Normalisation layers."""
        return norm_only

    def direction(self, step: Step) -> Direction:
        """Ascend along the normalisation layers' gradient, and take the gradient found there."""
        g = yield step.gradient()
        return (yield step.gradient(at=ball(g, step(self.rho), order=self.p), spend=g))
