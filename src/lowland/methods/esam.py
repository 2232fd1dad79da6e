"""Efficient sharpness-aware minimisation."""

from dataclasses import dataclass
from typing import ClassVar

from lowland.blocks.largest import largest
from lowland.blocks.radius import check_radius
from lowland.checks import fraction
from lowland.engine.method import Method
from lowland.engine.request import Direction, ball
from lowland.engine.step import Schedule, Step
from lowland.vector import Vector

__all__ = ["ESAM"]


@dataclass(frozen=True, kw_only=True)
class ESAM(Method):
    r"""SAM that perturbs some tensors and descends on the examples whose loss rises most.

    Stochastic weight perturbation: each tensor :math:`l` takes part with chance :math:`\beta`, and
    :math:`e_l = (\rho / \beta)\, g_l / \lVert g \rVert_2`, the norm over those that do. Sharpness-sensitive data
    selection: :math:`d = \nabla L_S(w + e)` on the share :math:`\gamma` of the batch with the largest
    :math:`\ell_i(w + e) - \ell_i(w)`. :math:`1 + \gamma` passes and one forward pass; two extra copies of the
    weights within a step, no memory. Needs examples: pass a :func:`lowland.objective`.

    The selection holds :math:`\lceil \gamma n \rceil` examples, at least one, also where losses tie; the
    released code compares with the k-th value strictly, so that it keeps k - 1 or, with ties, none. Batch-norm
    statistics are those of the whole clean batch, not of the sharpest part.

    Attributes:
        rho: Radius, >= 0; a number or a schedule.
        beta: Share of the tensors that move, in (0, 1].
        gamma: Share of the examples that are descended on, in (0, 1].

    References:
        Du, Yan, Feng, Zhou, Zhen, Goh, Tan, Efficient Sharpness-aware Minimization for Improved Training of Neural
        Networks, ICLR 2022, algorithm 1. https://arxiv.org/abs/2110.03141
    """

    rho: Schedule = 0.05
    beta: float = 0.5
    gamma: float = 0.5

    PASSES: ClassVar = 1.5
    FORWARDS: ClassVar = 1
    COPIES: ClassVar = 2
    REDUCES_TO: ClassVar = {"sam": {"beta": 1.0, "gamma": 1.0}, "sgd": {"rho": 0.0, "gamma": 1.0}}

    def __post_init__(self) -> None:
        check_radius("rho", self.rho)
        fraction("beta", self.beta, zero=False)
        fraction("gamma", self.gamma, zero=False)

    @property
    def passes(self) -> float:
        """1 + gamma."""
        return 1 + self.gamma

    @property
    def forwards(self) -> float:
        """1, or 0 where every example is taken."""
        return float(self.gamma < 1)

    def direction(self, step: Step) -> Direction:
        """Move some tensors, look whose loss rose, and take those examples' gradient."""
        goals = step.objectives()
        g = yield step.gradient()
        at = ball(g.only(step.some(self.beta)), step(self.rho) / self.beta)
        if self.gamma == 1:
            return (yield step.gradient(at=at, spend=g))
        d = Vector()
        for whole in step.shards():
            rise = (yield step.losses(on=whole, at=at)) - goals[whole.closure].clean_losses()
            sharpest = step.subset(whole.closure, largest(rise, self.gamma))
            d = d + (yield step.gradient(at=at, on=sharpest))
        return d
