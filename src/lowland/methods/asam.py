"""Adaptive sharpness-aware minimisation."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lowland.blocks.radius import check_order, check_radius
from lowland.checks import at_least
from lowland.engine.method import Method
from lowland.engine.request import Direction, ball
from lowland.engine.step import Schedule, Step

__all__ = ["ASAM"]


@dataclass(frozen=True, kw_only=True)
class ASAM(Method):
    r"""SAM in a ball that scales with the weights, :math:`e = \rho\, T^2 g / \lVert T g \rVert_2`.

    :math:`T = |w| + \eta` element by element, so that rescaling a layer and the next against it changes
    nothing. Two passes, one extra copy of the weights within a step, no memory.

    Two algorithms go by this name, with different best radii. :meth:`as_published` has :math:`T = |w| + \eta`
    on parameters whose name contains ``weight`` and 1 on the rest; :meth:`as_davda` has :math:`|w|` everywhere,
    so a bias of zero is never perturbed.

    In a ball of another norm p, with 1/p + 1/q = 1, the perturbation is
    :math:`e = \rho\, T \operatorname{sign}(g)\, |T g|^{q-1} / \lVert T g \rVert_q^{q-1}`; for p = inf,
    :math:`\rho\, T \operatorname{sign}(g)`. A third form, :math:`\rho\, T g / \lVert g \rVert_2`, is in use
    elsewhere and is not offered.

    Attributes:
        rho: Radius, relative to the weights, >= 0; a number or a schedule.
        eta: Added to :math:`|w|`, >= 0, in the units of the weights.
        p: Order of the ball's norm, > 1, up to ``inf``.
        scale_all: Whether :math:`T` also scales parameters that are not called ``weight``.

    References:
        Kwon, Kim, Park, Choi, ASAM: Adaptive Sharpness-Aware Minimization for Scale-Invariant Learning of Deep
        Neural Networks, ICML 2021, algorithm 1. https://arxiv.org/abs/2102.11600
    """

    rho: Schedule = 0.5
    eta: float = 0.01
    p: float = 2.0
    scale_all: bool = False

    PASSES: ClassVar = 2
    COPIES: ClassVar = 1
    REDUCES_TO: ClassVar = {"sgd": {"rho": 0.0}}

    def __post_init__(self) -> None:
        check_radius("rho", self.rho)
        at_least("eta", self.eta, 0)
        check_order("p", self.p)

    @classmethod
    def as_published(cls, rho: Schedule = 0.5, eta: float = 0.01) -> "ASAM":
        """As the authors have it: 0.5 for CIFAR-10, 1.0 for CIFAR-100."""
        return cls(rho=rho, eta=eta)

    @classmethod
    def as_davda(cls, rho: Schedule = 2.0) -> "ASAM":
        """As the widespread PyTorch implementation has it with ``adaptive=True``; it advises 2.0."""
        return cls(rho=rho, eta=0.0, scale_all=True)

    def direction(self, step: Step) -> Direction:
        """Ascend along the gradient in the stretched ball, and take the gradient found there."""
        g = yield step.gradient()
        return (yield step.gradient(at=ball(g, step(self.rho), self.metric, order=self.p), spend=g))

    def metric(self, name: str, w: Tensor) -> Tensor:
        """The diagonal of T for (a piece of) the parameter ``name``."""
        scaled = self.scale_all or "weight" in name
        return w.abs() + self.eta if scaled else torch.ones_like(w)
