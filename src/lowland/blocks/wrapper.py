"""A method around a method."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from lowland.catalog import build
from lowland.engine.method import Method
from lowland.engine.request import Direction, Request
from lowland.engine.sites import Where
from lowland.engine.step import Step
from lowland.vector import Vector

__all__ = ["Wrapper", "given", "plain"]


@dataclass(frozen=True, kw_only=True)
class Wrapper(Method):
    """Base of methods that use another method, or use it on some of the steps.

    Attributes:
        method: The method, or its spec, such as ``"sam:rho=0.1"``.
    """

    method: Method | str = "sam"

    def __post_init__(self) -> None:
        if isinstance(self.method, str):
            object.__setattr__(self, "method", build("methods", self.method))
        if not isinstance(self.method, Method):
            raise TypeError(f"method must be a training method or its spec, got {self.method!r}.")

    @property
    def inner(self) -> Method:
        """The method that is used."""
        assert isinstance(self.method, Method)
        return self.method

    @property
    def sharded(self) -> bool:
        """Whether the inner method works where every process has but a part of the weights."""
        return self.inner.sharded

    @property
    def where(self) -> Where | None:
        """Which parameters the inner method perturbs."""
        return self.inner.where


def plain(step: Step) -> Direction:
    """The plain gradient."""
    return (yield step.gradient())


def given(algorithm: Direction, g: Vector) -> Direction:
    """Run an algorithm whose first request, if it is for the plain gradient, is answered with ``g`` already."""
    wanted: Generator[Any, Any, Any] = algorithm
    request = next(wanted)
    answer = g if request == Request() else (yield request)
    try:
        while True:
            answer = yield wanted.send(answer)
    except StopIteration as finished:
        return finished.value
