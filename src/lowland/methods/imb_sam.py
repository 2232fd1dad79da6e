"""SAM for the rare classes only."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lowland.blocks.radius import check_radius
from lowland.checks import at_least
from lowland.engine.method import Method
from lowland.engine.objective import Examples
from lowland.engine.request import Direction, ball
from lowland.engine.step import Schedule, Step

__all__ = ["ImbSAM"]


@dataclass(frozen=True, kw_only=True)
class ImbSAM(Method):
    r"""SAM for the rare classes only, :math:`d = \nabla L_{head}(w) + \nabla L_{tail}(w + \rho\, \hat g_{tail})`.

    :math:`L_{head} + L_{tail} = L`: both sums are over the whole batch's size. Rare classes overfit and gain
    from SAM; for the frequent ones it costs capacity. Three passes (forward and backward; the head's and the
    tail's share a forward in the authors' code), two extra copies of the weights within a step, no memory.
    Needs examples with class indices: pass a :func:`lowland.objective`.

    The released script multiplies the tail's loss by 2 without saying so: ``tail_weight=2``.

    Attributes:
        rho: Radius, >= 0; a number or a schedule.
        tail: The rare classes, by index: on CIFAR-100-LT those with fewer than 20 images. None of them is the
            plain gradient, in one pass.
        tail_weight: Factor on the tail's perturbed gradient, >= 0.

    References:
        Zhou, Qu, Xu, Shen, ImbSAM: A Closer Look at Sharpness-Aware Minimization in Class-Imbalanced Recognition,
        ICCV 2023. https://arxiv.org/abs/2308.07815
    """

    rho: Schedule = 0.05
    tail: tuple[int, ...] = ()
    tail_weight: float = 1.0

    PASSES: ClassVar = 3
    COPIES: ClassVar = 2
    REDUCES_TO: ClassVar = {"sgd": {"tail": ()}}

    def __post_init__(self) -> None:
        check_radius("rho", self.rho)
        at_least("tail_weight", self.tail_weight, 0)

    @property
    def passes(self) -> float:
        """3, or 1 where no class is rare."""
        return 3 if self.tail else 1

    def direction(self, step: Step) -> Direction:
        """Take the head's gradient at the weights and the tail's beside them."""
        if not self.tail:
            return (yield step.gradient())
        head = yield step.gradient(loss=self.head_loss)
        g = yield step.gradient(loss=self.tail_loss)
        h = yield step.gradient(at=ball(g, step(self.rho)), loss=self.tail_loss, spend=g)
        return head.plus(h, self.tail_weight)

    def head_loss(self, examples: Examples) -> Tensor:
        """The frequent classes' part of the batch's mean loss."""
        return (examples.losses * ~self._in_tail(examples.targets)).mean()

    def tail_loss(self, examples: Examples) -> Tensor:
        """The rare classes' part of the batch's mean loss."""
        return (examples.losses * self._in_tail(examples.targets)).mean()

    def _in_tail(self, y: Tensor) -> Tensor:
        return sum((y == k for k in self.tail), torch.zeros_like(y, dtype=torch.bool))
