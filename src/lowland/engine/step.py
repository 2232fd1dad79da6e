"""What a method sees of one training step."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from lowland.engine.objective import Objective
from lowland.engine.request import Ball, Request, Shard
from lowland.types import Closure
from lowland.vector import Vector

__all__ = ["Schedule", "Step"]


class Moment(Protocol):
    """What a schedule may look at."""

    @property
    def count(self) -> int:
        """Steps taken before this one."""
        ...

    @property
    def learning_rate(self) -> float | Tensor:
        """The bound optimiser's, of its first group."""
        ...


Schedule = float | Callable[[Moment], "float | Tensor"]
"""A number, or what gives the number of a step, such as :class:`lowland.Cosine`."""


@dataclass(frozen=True)
class Step:
    """One training step: what a method may ask and know.

    Attributes:
        count: Steps taken before this one.
        closures: The losses whose sum is the step's loss.
        memory: What the method remembered of earlier steps; see :meth:`recall`.
    """

    count: int
    closures: tuple[Closure, ...]
    memory: Mapping[str, Vector] = field(default_factory=dict)
    written: dict[str, Vector] = field(default_factory=dict)
    rate: Callable[[], "float | Tensor"] | None = None

    def __call__(self, schedule: Schedule) -> float | Tensor:
        """The value of a hyper-parameter in this step."""
        return schedule(self) if callable(schedule) else schedule

    @property
    def learning_rate(self) -> float | Tensor:
        """The learning rate of the bound optimiser's first group.

        Raises:
            RuntimeError: If no optimiser was bound.
        """
        if self.rate is None:
            raise RuntimeError("This schedule follows the learning rate: bind(model, optimizer=optimizer).")
        return self.rate()

    def gradient(
        self, at: Ball | Vector | None = None, on: Shard | None = None, spend: Vector | None = None
    ) -> Request:
        """Ask for a gradient; to be yielded. See :class:`~lowland.engine.request.Request`.

        Raises:
            ValueError: If a remembered vector is to be spent.
        """
        if spend is not None and self.memory:
            kept = {id(part) for vector in self.memory.values() for part in vector.parts.values()}
            if any(id(part) in kept for part in spend.parts.values()):
                raise ValueError("A remembered vector must not be spent: it is needed again. Spend a clone of it.")
        return Request(at, on, spend)

    def shards(self, size: int) -> Iterator[Shard]:
        """Cut every closure's examples into shards of ``size`` (the last may be smaller).

        Raises:
            TypeError: If a closure does not know its examples.
        """
        for index, closure in enumerate(self.closures):
            if not isinstance(closure, Objective):
                raise TypeError(
                    f"This method works on parts of the batch and needs its examples, got "
                    f"{type(closure).__name__}: pass lowland.objective(model, criterion, x, y)."
                )
            for start in range(0, len(closure), size):
                stop = min(start + size, len(closure))
                yield Shard(index, start, stop, (stop - start) / len(closure))

    def recall(self, key: str) -> Vector | None:
        """What was remembered under ``key`` in earlier steps, or None; not to be changed in place."""
        return self.memory.get(key)

    def remember(self, key: str, value: Vector) -> None:
        """Keep a copy of ``value`` for later steps and checkpoints; forgotten again if this step fails."""
        self.written[key] = value.clone()
