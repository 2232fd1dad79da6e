"""Functional sharpness-aware minimisation."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lowland.blocks.radius import check_radius
from lowland.engine.method import Method
from lowland.engine.objective import Examples
from lowland.engine.request import Direction, ball
from lowland.engine.step import Schedule, Step

__all__ = ["FunctionalSAM"]


@dataclass(frozen=True, kw_only=True)
class FunctionalSAM(Method):
    r"""SAM through the function only, :math:`d = J(w + e)^\top \nabla_z L(z(w))`.

    The Jacobian :math:`J` of the outputs :math:`z` is taken at the perturbed weights, the loss's derivative at
    the clean outputs: SAM without the part that merely lowers the outputs' scale, which harms language models.
    Two passes, one extra copy of the weights and the clean outputs within a step, no memory. Needs outputs in
    one tensor: pass a :func:`lowland.objective`.

    Attributes:
        rho: Radius, >= 0; a number or a schedule.

    References:
        Singh, Mobahi, Agarwala, Dauphin, Avoiding Spurious Sharpness Minimization Broadens Applicability of SAM,
        ICML 2025. https://arxiv.org/abs/2502.02407
    """

    rho: Schedule = 0.05

    PASSES: ClassVar = 2
    COPIES: ClassVar = 1

    def __post_init__(self) -> None:
        check_radius("rho", self.rho)

    def direction(self, step: Step) -> Direction:
        """Ascend, and carry the clean outputs' derivative back through the model found there."""
        step.objectives()
        g = yield step.gradient()
        return (yield step.gradient(at=ball(g, step(self.rho)), spend=g, loss=self.loss))

    def loss(self, examples: Examples) -> Tensor:
        """The outputs, weighted with the loss's derivative at the clean outputs.

        Raises:
            TypeError: If the outputs are not one tensor.
        """
        if not isinstance(examples.outputs, Tensor):
            raise TypeError(f"The model must give one tensor, got {type(examples.outputs).__name__}.")
        z = examples.clean.detach().requires_grad_()
        (c,) = torch.autograd.grad(examples.criterion(z, examples.targets), z)
        return (c * examples.outputs).sum()
