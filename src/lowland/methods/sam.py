"""Sharpness-aware minimisation."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from lowland.blocks.radius import check_order, check_radius
from lowland.checks import one_of
from lowland.engine.method import Method
from lowland.engine.request import Direction, ball
from lowland.engine.step import Schedule, Step

__all__ = ["SAM"]


@dataclass(frozen=True, kw_only=True)
class SAM(Method):
    r"""Descend the loss at the worst point nearby, :math:`d = \nabla L(w + \rho\, g / \lVert g \rVert_2)`.

    One global norm over all perturbed parameters; the perturbation counts as a constant. Two passes, one
    extra copy of the weights within a step, no memory. In a ball of another norm p, with 1/p + 1/q = 1, the
    perturbation is :math:`e = \rho\, \operatorname{sign}(g)\, |g|^{q-1} / \lVert g \rVert_q^{q-1}`; with
    ``per="tensor"`` every tensor has its own, :math:`e_l = \rho \lVert w_l \rVert_2\, g_l / \lVert g_l \rVert_2`.

    Attributes:
        rho: Radius of the ball, in the units of the weights, >= 0; a number or a schedule. Foret et al. use
            0.05 (CIFAR-10, ImageNet) and 0.1 (CIFAR-100); vision transformers take 0.2 to 0.6.
        p: Order of the ball's norm, > 1, up to ``inf``, where every weight moves by rho.
        per: One ball for the ``model``, or one for every ``tensor`` with a radius relative to its norm (the
            layer-wise radius of Look-LayerSAM, for very large batches).

    Note:
        The authors' JAX code keeps the L2 penalty in the loss, so that the perturbation ascends it too; here, as
        in the PyTorch versions, weight decay is the optimiser's unless the closure adds it.

    References:
        Foret, Kleiner, Mobahi, Neyshabur, Sharpness-Aware Minimization for Efficiently Improving Generalization,
        ICLR 2021, equations (2) and (3). https://arxiv.org/abs/2010.01412 Liu, Mai, Chen, Hsieh, You, Towards
        Efficient and Scalable Sharpness-Aware Minimization, CVPR 2022 (layer-wise radius).
        https://arxiv.org/abs/2203.02714
    """

    rho: Schedule = 0.05
    p: float = 2.0
    per: Literal["model", "tensor"] = "model"

    PASSES: ClassVar = 2
    COPIES: ClassVar = 1
    REDUCES_TO: ClassVar = {"sgd": {"rho": 0.0}}

    def __post_init__(self) -> None:
        check_radius("rho", self.rho)
        check_order("p", self.p)
        one_of("per", self.per, ["model", "tensor"])

    def direction(self, step: Step) -> Direction:
        """Ascend along the gradient, and take the gradient found there."""
        g = yield step.gradient()
        return (yield step.gradient(at=ball(g, step(self.rho), order=self.p, per=self.per), spend=g))
