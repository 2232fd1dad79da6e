"""A mean over examples, gathered batch by batch."""

from collections.abc import Callable, Iterable, Sequence

from torch import Tensor

__all__ = ["Mean"]

Parts = Sequence[Tensor | None]


class Mean:
    """Weighs batches' vectors by their counts; one batch alone costs one copy.

    Args:
        rows: Where the result is to be, of shape (k, P).
        join: Makes one vector of tensors, in a new place or in that of ``out``.
    """

    def __init__(self, rows: Tensor, join: Callable[..., Tensor]) -> None:
        self.rows, self._join = rows, join
        self._first = self._count = 0

    def add(self, vectors: Iterable[Parts], count: int) -> None:
        """Add a batch of ``count`` examples: k vectors, each as tensors of the parameters' shapes."""
        for row, parts in zip(self.rows, vectors, strict=True):
            if self._count == 0:
                self._join(parts, out=row)
            else:
                row.add_(self._join(parts), alpha=count / self._first)
        self._first = self._first or count
        self._count += count

    def result(self) -> Tensor:
        """The mean, of shape (k, P)."""
        return self.rows if self._count == self._first else self.rows.mul_(self._first / self._count)
