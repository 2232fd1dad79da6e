"""Any method, on steps whose gradient is large."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from lowland.blocks.wrapper import Wrapper, given
from lowland.checks import at_least, fraction
from lowland.engine.request import Direction
from lowland.engine.step import Schedule, Step

__all__ = ["AESAM"]


@dataclass(frozen=True, kw_only=True)
class AESAM(Wrapper):
    r"""The method where :math:`\lVert g \rVert^2 \ge \mu_t + c_t \sigma_t`, else the plain gradient.

    :math:`\mu_t` and :math:`\sigma_t^2` are running mean and variance of the squared gradient norm, with decay
    :math:`\delta`: sharp places show in large gradients. The clean gradient that decides is the method's first, so
    nothing is taken twice: between 1 and the method's passes a step. No memory but two numbers.

    The decision is the host's: a step waits for the device once, and under several processes that ascend on
    their own they may decide differently. The values of :math:`\delta` and of the line of :math:`c_t` were not
    checked against the paper.

    Attributes:
        method: The method, or its spec, such as ``"sam:rho=0.1"``.
        c: Threshold :math:`c_t` in standard deviations; a number or a schedule. The paper lets it grow on a line:
            ``Ramp(-1.0, 1.0, steps)``.
        delta: Decay, in [0, 1).

    References:
        Jiang, Yang, Zhang, Kwok, An Adaptive Policy to Employ Sharpness-Aware Minimization, ICLR 2023.
        https://arxiv.org/abs/2304.14647
    """

    c: Schedule = 0.0
    delta: float = 0.9

    PASSES: ClassVar = 1.5
    COPIES: ClassVar = 1
    VARIES: ClassVar = True
    WAITS: ClassVar = True
    REDUCES_TO: ClassVar = {"sam": {"c": -1e9}}

    def __post_init__(self) -> None:
        super().__post_init__()
        fraction("delta", self.delta, one=False)
        if not callable(self.c):
            at_least("c", self.c, -math.inf)

    @property
    def passes(self) -> float:
        """Passes per step if half of the gradients are large; telemetry has what was taken."""
        return (1 + self.inner.passes) / 2

    def direction(self, step: Step) -> Direction:
        """Run the method if the gradient is large beside those before."""
        g = yield step.gradient()
        square = step.unscaled(g.norm()) ** 2
        before, spread = step.recall_number("mean"), step.recall_number("variance")
        mean = square if before is None else torch.lerp(square, before.to(square), self.delta)
        variance = (1 - self.delta) * (square - mean) ** 2 + (0.0 if spread is None else self.delta * spread)
        step.remember("mean", mean, degree=0)
        step.remember("variance", variance, degree=0)
        if not bool(square >= mean + step(self.c) * variance.sqrt()):
            return g
        return (yield from given(self.inner.direction(step), g))
