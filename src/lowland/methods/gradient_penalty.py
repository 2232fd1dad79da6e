"""The gradient penalty by its true derivative, with or without a part of the Hessian."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from lowland.blocks.radius import check_radius
from lowland.checks import one_of
from lowland.engine.method import Method
from lowland.engine.request import Direction
from lowland.engine.step import Schedule, Step

__all__ = ["GradientPenalty"]


@dataclass(frozen=True, kw_only=True)
class GradientPenalty(Method):
    r"""Penalise the gradient's norm by its true derivative, :math:`d = g + \rho\, H g / \lVert g \rVert_2`.

    The gradient of :math:`L + \rho \lVert \nabla L \rVert_2`, and SAM's to first order in :math:`\rho`. SAM
    differences the gradient over a distance, and sees what curvature lies within it; the product with the Hessian
    sees that of the point alone. For ReLU networks the two never agree: autograd takes the second derivative of
    ReLU for 0 where it is a spike, and so leaves out part of the nonlinear modelling error :math:`N = H - G`, G
    the Gauss-Newton matrix. :class:`lowland.GNP` penalises the same by differences.

    Interventions of the paper: ``nme="ablated"`` puts G for H. To take out only the part in which two derivatives
    hit one activation, or to put a made-up one in, choose the network's activation, ``ablated_gelu`` or
    ``augmented_relu``. The direction is then no gradient of anything.

    Two passes, the second of which goes backward twice: the time of four (dense layers) to five (convolutions).
    Three extra copies of the weights within a step, no memory. Every operation must have a second derivative,
    which compiled models and fused attention have not.

    Attributes:
        rho: Strength, >= 0; a number or a schedule.
        nme: ``keep`` multiplies with the Hessian; ``ablated`` with the Gauss-Newton matrix, which needs the
            outputs: pass a :func:`lowland.objective`.

    References:
        Dauphin, Agarwala, Mobahi, Neglected Hessian component explains mysteries in sharpness regularization,
        NeurIPS 2024 (penalty SAM). https://arxiv.org/abs/2401.10809
        Barrett, Dherin, Implicit gradient regularization, ICLR 2021. https://arxiv.org/abs/2009.11162
    """

    rho: Schedule = 0.05
    nme: Literal["keep", "ablated"] = "keep"

    PASSES: ClassVar = 2
    COPIES: ClassVar = 3
    SHARDED: ClassVar = False
    REDUCES_TO: ClassVar = {"sgd": {"rho": 0.0}}

    def __post_init__(self) -> None:
        check_radius("rho", self.rho)
        one_of("nme", self.nme, MATRICES)

    def direction(self, step: Step) -> Direction:
        """Multiply the gradient's direction with the matrix."""
        g = yield step.gradient()
        Hv = yield step.product(step.perturbed(g).unit(), MATRICES[self.nme])
        return g.plus(Hv, step.radius(self.rho))


MATRICES: dict[str, Literal["hessian", "gauss_newton"]] = {"keep": "hessian", "ablated": "gauss_newton"}
