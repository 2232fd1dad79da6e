"""Any method, on steps drawn at random."""

from dataclasses import dataclass
from typing import ClassVar

from lowland.blocks.wrapper import Wrapper, plain
from lowland.checks import fraction
from lowland.engine.request import Direction
from lowland.engine.step import Schedule, Step

__all__ = ["RST"]


@dataclass(frozen=True, kw_only=True)
class RST(Wrapper):
    r"""Randomised sharpness-aware training: the method with chance :math:`p_t`, else the plain gradient.

    :math:`d = \nabla L(w + e)` with chance :math:`p_t` and :math:`\nabla L(w)` otherwise, for SAM. Passes that
    are not needed are not taken: SAM with p = 0.5 costs 1.5 passes a step on average. The draws are a stream of
    their own, repeated by a resumed run and the same in all processes.

    Attributes:
        method: The method, or its spec, such as ``"sam:rho=0.1"``.
        p: Chance in [0, 1]; a number or a schedule.

    References:
        Zhao, Zhang, Hu, Randomized Sharpness-Aware Training for Boosting Computational Efficiency in Deep
        Learning, 2022. https://arxiv.org/abs/2203.09962
    """

    p: Schedule = 0.5

    PASSES: ClassVar = 1.5
    COPIES: ClassVar = 1
    VARIES: ClassVar = True
    REDUCES_TO: ClassVar = {"sam": {"p": 1.0}, "sgd": {"p": 0.0}}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.p):
            fraction("p", self.p)

    @property
    def passes(self) -> float:
        """Passes per step, on average; with a schedule, at one half."""
        p = 0.5 if callable(self.p) else self.p
        return 1 + p * (self.inner.passes - 1)

    @property
    def forwards(self) -> float:
        """Forward passes without a backward per step, on average; with a schedule, at one half."""
        return (0.5 if callable(self.p) else self.p) * self.inner.forwards

    def direction(self, step: Step) -> Direction:
        """Draw whether the method is run."""
        due = step.chance(float(step(self.p)))
        return (yield from self.inner.direction(step) if due else plain(step))
