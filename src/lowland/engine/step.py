"""What a method sees of one training step."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

from torch import Tensor

from lowland.checks import at_least
from lowland.engine.around import Around
from lowland.engine.memory import Memory, Note
from lowland.engine.objective import Loss, Objective
from lowland.engine.request import Ball, Look, Matrix, Part, Request, Shard, Subset
from lowland.types import Closure
from lowland.vector import Vector

__all__ = ["Schedule", "Step"]


Many = TypeVar("Many", Vector, Tensor)


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
        around: The perturbed parameters, the optimiser, and chance.
        memory: What the method remembered of earlier steps; see :meth:`recall`.
        scale: What every loss is multiplied by, for float16; None is 1.
        uses: How often a method around this one ran it before; None where there is none.
    """

    count: int
    closures: Sequence[Closure]
    around: Around = field(default_factory=lambda: Around({}))
    memory: Memory = field(default_factory=Memory)
    scale: Tensor | None = None
    written: dict[str, Note] = field(default_factory=dict)
    afterwards: list[Note] = field(default_factory=list)
    uses: int | None = None

    @property
    def turn(self) -> int:
        """How often the method was run before: the count, or less inside a method that does not always run it."""
        return self.count if self.uses is None else self.uses

    def __call__(self, schedule: Schedule) -> float | Tensor:
        """The value of a hyper-parameter in this step."""
        return schedule(self) if callable(schedule) else schedule

    def radius(self, schedule: Schedule) -> float | Tensor:
        """The value of a radius, or of another factor on a perturbation, in this step.

        Raises:
            ValueError: If a schedule gave a plain number below 0 or not finite.
        """
        value = self(schedule)
        if not isinstance(value, Tensor):
            at_least("The radius of a schedule", value, 0)
        return value

    @property
    def learning_rate(self) -> float | Tensor:
        """The learning rate of the bound optimiser's first group.

        Raises:
            RuntimeError: If no optimiser was bound.
        """
        return self.around.learning_rate()

    def gradient(
        self,
        at: Ball | Vector | None = None,
        on: Part | None = None,
        spend: Vector | None = None,
        loss: Loss | None = None,
    ) -> Request:
        """Ask for a gradient; to be yielded. See :class:`~lowland.engine.request.Request`.

        Raises:
            ValueError: If a remembered vector is to be spent.
            TypeError: If another loss is asked for and a closure does not know its examples.
        """
        if loss is not None:
            self.objectives()
        if spend is not None and any(id(part) in self.kept for part in spend.parts.values()):
            raise ValueError("A remembered vector must not be spent: it is needed again. Spend a clone of it.")
        return Request(at, on, spend, loss)

    def product(
        self,
        along: Vector,
        matrix: Matrix = "hessian",
        *,
        at: Ball | Vector | None = None,
        on: Part | None = None,
    ) -> Request:
        """Ask for the product of the loss's Hessian or Gauss-Newton matrix with a vector; to be yielded.

        One pass that goes backward twice: the time of three (dense layers) to four (convolutions).

        Args:
            along: The vector.
            matrix: Which of the two.
            at: As for :meth:`gradient`.
            on: Likewise.

        Raises:
            TypeError: If ``matrix`` is ``"gauss_newton"`` and a closure does not know its outputs.
        """
        if matrix == "gauss_newton":
            self.objectives()
        return Request(at, on, along=along, matrix=matrix)

    def losses(self, on: Part, at: Ball | Vector | None = None) -> Look:
        """Ask for the loss of every example of a part, by a forward pass alone; to be yielded."""
        return Look(on, at)

    def objectives(self) -> list[Objective]:
        """The closures, which must know their examples.

        Raises:
            TypeError: If one does not.
        """
        found = [closure for closure in self.closures if isinstance(closure, Objective)]
        if len(found) < len(self.closures):
            stranger = next(closure for closure in self.closures if not isinstance(closure, Objective))
            raise TypeError(
                f"This method works on parts of the batch and needs its examples, got "
                f"{type(stranger).__name__}: pass lowland.objective(model, criterion, x, y)."
            )
        return found

    def shards(self, size: int | None = None) -> Iterator[Shard]:
        """Cut every closure's examples into shards of ``size`` (the last may be smaller); None is all in one.

        Raises:
            TypeError: If a closure does not know its examples.
        """
        for index, goal in enumerate(self.objectives()):
            n = len(goal)
            for start in range(0, n, size or n):
                stop = min(start + (size or n), n)
                yield Shard(index, start, stop, (stop - start) / n)

    def subset(self, closure: int, rows: Tensor) -> Subset:
        """Some rows of a closure, by their indices, of shape ``(k,)``."""
        return Subset(closure, rows, len(rows) / len(self.objectives()[closure]))

    def momentum(self) -> Vector:
        """The bound optimiser's running mean of the gradients, unscaled; empty before its first step.

        Raises:
            RuntimeError: If no optimiser was bound.
        """
        return self.around.momentum()

    def noise(self, per: Literal["model", "filter"] = "model") -> Vector:
        """Normal numbers of standard deviation 1, or as large as the norm of the weight's filter."""
        return self.around.noise(per)

    def some(self, share: float) -> frozenset[str]:
        """Names of perturbed parameters, each drawn with chance ``share``; at least one."""
        return self.around.some(share)

    def chance(self, share: float) -> bool:
        """True with chance ``share``."""
        return self.around.chance(share)

    def perturbed(self, vector: Vector) -> Vector:
        """The entries of those parameters that the method perturbs."""
        return vector.only(frozenset(self.around.parameters))

    def unscaled(self, gradient: Many) -> Many:
        """A gradient, or its norm, in units of the unscaled loss, for what does not divide by the norm."""
        return gradient if self.scale is None else gradient * (1 / self.scale)

    def recall(self, key: str) -> Vector | None:
        """The vector remembered under ``key`` in earlier steps, or None; not to be changed in place."""
        value = self._recalled(key)
        return value if isinstance(value, Vector) else None

    def recall_number(self, key: str) -> Tensor | None:
        """The scalar remembered under ``key``, on the device, or None."""
        value = self._recalled(key)
        return value if isinstance(value, Tensor) else None

    def remember(self, key: str, value: Vector | Tensor, degree: int = 1) -> None:
        """Keep ``value`` for later steps and checkpoints; forgotten again if this step fails.

        Args:
            key: Any name.
            value: A vector or a scalar. What is not finite is not kept.
            degree: The power of the loss in its unit: 1 for gradients, 2 for their squares, 0 for directions and
                masks. A change of the loss scale between steps then changes nothing.
        """
        self.written[key] = self._unscaled(value, degree)

    def descend_afterwards(self, value: Vector) -> None:
        """Let the weights also take ``w -= learning_rate * value``, right after the optimiser's step.

        Raises:
            RuntimeError: If no optimiser was bound.
        """
        self.around.descends()
        self.afterwards.append(self._unscaled(value, 1))

    @property
    def kept(self) -> set[int]:
        """Identities of the tensors that are or will be remembered: they must not be changed."""
        return self.memory.tensors | Memory(self.written).tensors

    def _recalled(self, key: str) -> Vector | Tensor | None:
        note = self.memory.notes.get(key)
        return None if note is None else note.scaled(self.scale)

    def _unscaled(self, value: Vector | Tensor, degree: int) -> Note:
        return Note(Note(value, degree).scaled(self.scale, sign=-1), degree)
