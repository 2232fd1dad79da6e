"""Any method, on some of the steps."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowland.catalog import build
from lowland.checks import whole
from lowland.engine.method import Method
from lowland.engine.request import Direction
from lowland.engine.sites import Where
from lowland.engine.step import Step

__all__ = ["Every"]


@dataclass(frozen=True, kw_only=True)
class Every(Method):
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

    method: Method | str = "sam"
    k: int = 2
    start: int = 0

    REDUCES_TO: ClassVar = {"sam": {"k": 1}, "sgd": {"method": "sam:rho=0.0", "k": 2}}

    def __post_init__(self) -> None:
        whole("k", self.k)
        whole("start", self.start, low=0)
        if isinstance(self.method, str):
            object.__setattr__(self, "method", build("methods", self.method))

    @property
    def inner(self) -> Method:
        """The method that is used."""
        assert isinstance(self.method, Method)
        return self.method

    @property
    def passes(self) -> float:
        """Passes per step, on average, from ``start`` on."""
        return (self.inner.passes + self.k - 1) / self.k

    @property
    def where(self) -> Where | None:
        """Which parameters the inner method perturbs."""
        return self.inner.where

    def direction(self, step: Step) -> Direction:
        """Run the method if it is its turn."""
        due = step.count >= self.start and (step.count - self.start) % self.k == 0
        algorithm: Generator[Any, Any, Any] = self.inner.direction(step) if due else _plain(step)
        return (yield from algorithm)


def _plain(step: Step) -> Direction:
    return (yield step.gradient())
