"""Any method, on every k-th step."""

from dataclasses import dataclass, replace
from typing import ClassVar

from lowland.blocks.wrapper import Wrapper, plain
from lowland.checks import whole
from lowland.engine.request import Direction
from lowland.engine.step import Step

__all__ = ["Every"]


@dataclass(frozen=True, kw_only=True)
class Every(Wrapper):
    """Another method on every k-th step from ``start`` on, the plain gradient on the others.

    Passes that are not needed are not taken: SAM on every tenth step costs 1.1 passes a step, not 2.

    Attributes:
        method: The method, or its spec, such as ``"sam:rho=0.1"``.
        k: Steps from one use to the next, >= 1.
        start: The first step that uses it, >= 0.

    Example:
        >>> Every(method="sam:rho=0.1", k=10).passes
        1.1
    """

    k: int = 2
    start: int = 0

    COPIES: ClassVar = 1
    REDUCES_TO: ClassVar = {"sam": {"k": 1}, "sgd": {"method": "sam:rho=0.0", "k": 2}}

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("k", self.k)
        whole("start", self.start, low=0)

    @property
    def passes(self) -> float:
        """Passes per step, on average, from ``start`` on."""
        return (self.inner.passes + self.k - 1) / self.k

    @property
    def forwards(self) -> float:
        """Forward passes without a backward per step, on average, from ``start`` on."""
        return self.inner.forwards / self.k

    def direction(self, step: Step) -> Direction:
        """Run the method if it is its turn."""
        uses, early = divmod(step.turn - self.start, self.k)
        if uses < 0 or early:
            return (yield from plain(step))
        return (yield from self.inner.direction(replace(step, uses=uses)))
