"""A method whose step depends on all that a checkpoint must bring back: its memory and its counters."""

from dataclasses import dataclass
from typing import ClassVar

from lowland.engine.method import Method
from lowland.engine.request import ball


@dataclass(frozen=True, kw_only=True)
class Recalling(Method):
    """Ascends along a running mean of the gradients, further from step to step."""

    PASSES: ClassVar = 2

    def direction(self, step):
        g = yield step.gradient()
        mean = step.recall("mean")
        mean = g.clone() if mean is None else 0.5 * mean + 0.5 * g
        step.remember("mean", mean)
        return (yield step.gradient(at=ball(mean, 0.1 * (1 + step.count))))
