"""m-sharpness: every m examples ascend by themselves."""

from dataclasses import dataclass
from typing import ClassVar

from lowland.blocks.radius import check_radius
from lowland.checks import whole
from lowland.engine.method import Method
from lowland.engine.request import Direction, ball
from lowland.engine.step import Schedule, Step
from lowland.vector import Vector

__all__ = ["MSAM"]


@dataclass(frozen=True, kw_only=True)
class MSAM(Method):
    r"""The mean of SAM's gradients over shards of m examples, :math:`d = \sum_i (n_i / n) \nabla L_i(w + e_i)`.

    :math:`e_i = \rho\, g_i / \lVert g_i \rVert_2` of the shard's own gradient. How many examples share an
    ascent is the largest single effect in the family: the whole batch of several devices is not what the paper
    did, and one device's share is. Two passes over the batch, in smaller pieces; three extra copies of the
    weights within a step, no memory. Needs examples: pass a :func:`lowland.objective` with a mean loss.

    Attributes:
        rho: Radius, >= 0; a number or a schedule.
        m: Examples per ascent, >= 1. Behdin et al. call the *number* of shards m; here it is their size, as in
            Foret et al.

    References:
        Foret et al., ICLR 2021, section 4.1. https://arxiv.org/abs/2010.01412
        Behdin et al., mSAM: Micro-Batch-Averaged Sharpness-Aware Minimization. https://arxiv.org/abs/2302.09693
    """

    rho: Schedule = 0.05
    m: int = 64

    PASSES: ClassVar = 2
    COPIES: ClassVar = 3
    REDUCES_TO: ClassVar = {"sam": {"m": 2**40}}

    def __post_init__(self) -> None:
        check_radius("rho", self.rho)
        whole("m", self.m)

    def direction(self, step: Step) -> Direction:
        """Ascend on each shard, and average the gradients found there."""
        d = Vector()
        for shard in step.shards(self.m):
            g = yield step.gradient(on=shard)
            h = yield step.gradient(at=ball(g, step(self.rho)), on=shard, spend=g)
            d = d.plus(h, shard.share)
        return d
