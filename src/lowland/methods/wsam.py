"""Weighted sharpness-aware minimisation."""

from dataclasses import dataclass
from typing import ClassVar

from lowland.blocks.radius import check_radius
from lowland.checks import fraction
from lowland.engine.method import Method
from lowland.engine.request import Direction, ball
from lowland.engine.step import Schedule, Step

__all__ = ["WSAM"]


@dataclass(frozen=True, kw_only=True)
class WSAM(Method):
    r"""Sharpness as a weighted term, :math:`L + \alpha (L(w + e) - L)`, :math:`\alpha = \gamma / (1 - \gamma)`.

    :math:`e = \rho\, g / \lVert g \rVert_2` and :math:`h = \nabla L(w + e)`. Decoupled, as published: the
    optimiser steps with the clean :math:`g`, and then :math:`w \leftarrow w - \eta\alpha(h - g)`, so that the
    sharpness term bypasses momentum and Adam's scaling (:math:`\eta` each group's learning rate). Coupled: the
    optimiser steps with :math:`(1 - \alpha) g + \alpha h`; at :math:`\gamma = 1/2` that is SAM. Two passes,
    three extra copies of the weights within a step, and decoupled one from ``backward`` to the optimiser's step;
    no memory.

    The released code clips both gradients to norm 1 by default, a widespread copy only the second; here clipping
    is yours and, decoupled, reaches the optimiser's part only.

    Of several optimisers, only the parameters of the bound one get the sharpness term.

    Attributes:
        rho: Radius, >= 0; a number or a schedule.
        gamma: Weight of the sharpness, in [0, 1): 0 is the base optimiser; the authors advise 0.8 to 0.95.
        decoupled: Whether the sharpness term bypasses the optimiser; needs ``bind(..., optimizer=optimizer)``.

    References:
        Yue, Jiang, Ye, Gao, Liu, Zhang, Sharpness-Aware Minimization Revisited: Weighted Sharpness as a
        Regularization Term, KDD 2023, algorithms 1 and 2. https://arxiv.org/abs/2305.15817
    """

    rho: Schedule = 0.05
    gamma: float = 0.9
    decoupled: bool = True

    PASSES: ClassVar = 2
    COPIES: ClassVar = 3
    REDUCES_TO: ClassVar = {"sam": {"gamma": 0.5, "decoupled": False}, "sgd": {"gamma": 0.0}}

    def __post_init__(self) -> None:
        check_radius("rho", self.rho)
        fraction("gamma", self.gamma, one=False)

    def direction(self, step: Step) -> Direction:
        """Weigh the difference of the two gradients, inside the optimiser or beside it."""
        alpha = self.gamma / (1 - self.gamma)
        g = yield step.gradient()
        h = yield step.gradient(at=ball(g, step(self.rho)))
        if not self.decoupled:
            return g.lerp(h, alpha)
        step.descend_afterwards(alpha * (h - g))
        return g
