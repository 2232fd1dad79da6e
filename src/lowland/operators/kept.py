"""What was prepared for each batch, kept from product to product as far as memory goes."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from lowland.operators.batch import Batch
from lowland.operators.memory import saved
from lowland.operators.problem import Problem

__all__ = ["Kept"]

T = TypeVar("T")


class Kept(Generic[T]):
    """Goes over the batches of a problem, and gives each with what was prepared for it.

    What fits into the problem's memory is prepared once; the rest anew in every pass. After the weights were
    changed everything is.

    Args:
        problem: Whose batches.

    Attributes:
        fresh: Whether the latest pass had to prepare anything.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._kept: list[tuple[Batch, T]] = []
        self._share = problem.budget.share()
        self._whole = self.fresh = False
        self._stamp = problem.stamp()

    def each(self, prepare: Callable[[Batch], T]) -> Iterator[tuple[Batch, T]]:
        """Batches and what ``prepare`` makes, or has made, of them; inside :meth:`Problem.calm`."""
        self._forget_if_changed()
        self.fresh = not self._whole
        if self._whole:
            yield from self._kept
            return
        number = 0
        for number, batch in enumerate(self.problem.batches, 1):
            if number <= len(self._kept):
                yield self._kept[batch.index]
            elif number == len(self._kept) + 1:
                yield self._prepared(batch, prepare)
            else:  # there was no room for an earlier one
                yield batch, prepare(batch)
        self._whole = number == len(self._kept)

    def __len__(self) -> int:
        """Batches that are kept at the moment."""
        return len(self._kept)

    def clear(self) -> None:
        """Let go of everything."""
        self._kept, self._share.bytes = [], 0
        self._whole = False

    def _prepared(self, batch: Batch, prepare: Callable[[Batch], T]) -> tuple[Batch, T]:
        """What is made of one more batch; kept, if there is room for it."""
        with saved(self.problem.model.parameters()) as found:
            pair = batch, prepare(batch)
        budget, size = self.problem.budget, found.bytes
        if budget.held + size <= budget.limit:
            self._kept.append(pair)
            self._share.bytes += size
        return pair

    def _forget_if_changed(self) -> None:
        now = self.problem.stamp()
        if now != self._stamp:
            self.clear()
            self._stamp = now
