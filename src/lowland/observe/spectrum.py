"""Singular values of a matrix whose rows arrive in batches, in memory that does not grow with their number."""

import torch
from torch import Tensor

from lowland.observe.pooled import refuse_other_width
from lowland.observe.scatter import Scatter, add_gram, centred
from lowland.observe.sketch import Sketch

__all__ = ["Spectrum"]

CHUNK = 512
"""Rows that are multiplied at once after the first fold."""

COLUMNS = 2048
"""Columns that are multiplied at once while there are fewer rows than columns."""

DOMINANT = 1e4
"""A mean with this many times the energy of the rest would cost digits if added to the scatter matrix."""


class Spectrum:
    """All singular values of the n x d matrix of rows, as they are or centred at their mean.

    Works on the smaller side. While there are fewer rows than columns it keeps the rows, and multiplies them
    with each other at the end; afterwards only the d x d scatter matrix is kept. Rows wider than ``limit`` and
    more numerous than ``limit`` are sketched to ``limit`` columns.

    Accuracy, as everywhere that squares are taken: of float64 rows, singular values above 1e-3 of the largest are
    right to 1e-9 of themselves, and those below 1.5e-8 sqrt(min(n, d)) of it count as zero. Of float32 rows,
    products are taken in float32 and added in float64; those below 3.5e-4 of the largest count as zero.

    Args:
        name: What the rows are of, for the errors and the sketch's random stream.
        limit: Largest side of a matrix to decompose.
        seed: Seed of the sketch.

    Cost:
        At most 1.5 min(d, limit)^2 float64 numbers (or the first ``limit`` rows, if those are more);
        n d min(n, d) multiplications; one symmetric eigenvalue problem of side min(n, d).
    """

    def __init__(self, name: str, *, limit: int = 8192, seed: int = 0) -> None:
        self.name, self.limit, self.seed = name, limit, seed
        self.count = 0
        self.width = 0
        self.sketch: Sketch | None = None
        self._held: list[Tensor] = []
        self._scatter: Scatter | None = None
        self._dtype = torch.float64

    def add(self, rows: Tensor) -> None:
        """Take in rows of shape (n, d), float32 or float64; they are copied.

        Raises:
            ValueError: If d is not that of the rows before.
        """
        refuse_other_width(self.name, rows, self.width or rows.shape[1])
        self.count += len(rows)
        self.width = rows.shape[1]
        self._dtype = rows.dtype
        if self._scatter and not self.sketch and not self._held and len(rows) >= CHUNK:
            self._scatter.add(rows)
            return
        self._held.append(self.sketch(rows) if self.sketch else rows.clone())
        if sum(map(len, self._held)) > self._room():
            self._fold()

    def singular_values(self, *, centre: bool) -> Tensor:
        """Singular values in falling order, float64, min(n, d) of them; exact zeros where they vanish.

        Args:
            centre: Whether to take each column's mean off.

        Returns:
            Shape (min(n, d),), or (limit,) if sketched.

        Raises:
            ValueError: If squares of the rows are beyond the range of their dtype.
        """
        if self._scatter is None and self.count < self.width:
            gram, mean_rows = self._of_rows(centre)
        else:
            gram, mean_rows = self._of_columns(centre)
        if not torch.isfinite(gram.diagonal().sum()):
            raise ValueError(
                f"The features of layer {self.name!r} must be below 1e18 in size, got larger. "
                "Measure the model in float64."
            )
        if mean_rows is not None:
            return _clean(torch.linalg.svdvals(mean_rows), torch.finfo(torch.float64).eps * max(gram.shape))
        values = torch.linalg.eigvalsh(gram).flip(0)
        floor = torch.finfo(self._dtype).eps * (1 if self._dtype == torch.float32 else len(values))
        return _clean(values, floor).sqrt()

    def _room(self) -> int:
        """How many rows may be held before they are folded into the scatter matrix."""
        if self._scatter is not None:
            return CHUNK
        return self.limit if self.width > self.limit else max(self.width, CHUNK)

    def _fold(self) -> None:
        if self._scatter is None and self.width > self.limit:
            self.sketch = Sketch(self.width, self.limit, seed=self.seed, name=self.name)
            self._held = [self.sketch(rows) for rows in self._held]
        rows = torch.cat(self._held)
        self._held = []
        self._scatter = self._scatter or Scatter(rows.shape[1], rows.device)
        self._scatter.add(rows)

    def _of_rows(self, centre: bool) -> tuple[Tensor, Tensor | None]:
        """The n x n Gram matrix; and, if the mean dominates it, the rows themselves."""
        device = self._held[0].device
        gram = torch.zeros(self.count, self.count, dtype=torch.float64, device=device)
        along, square = (torch.zeros(shape, dtype=torch.float64, device=device) for shape in (self.count, ()))
        for start in range(0, self.width, COLUMNS):  # so that no second copy of all rows is made
            y, mean = centred(torch.cat([rows[:, start : start + COLUMNS] for rows in self._held]))
            add_gram(gram, y.T)
            along += y.double() @ mean
            square += mean.dot(mean)
        if centre:
            return gram, None
        if _dominates(square, self.count, gram):
            return gram, torch.cat(self._held).double()
        return gram + along[:, None] + along[None, :] + square, None

    def _of_columns(self, centre: bool) -> tuple[Tensor, Tensor | None]:
        """The d x d Gram matrix; and, if the mean dominates it, d + 1 rows with the same singular values."""
        if self._held:
            self._fold()
        scatter = self._scatter or Scatter(0)
        if centre:
            return scatter.matrix, None
        mean = scatter.mean * scatter.count**0.5
        if not _dominates(mean.dot(mean), 1, scatter.matrix):
            return torch.addr(scatter.matrix, mean, mean), None
        values, vectors = torch.linalg.eigh(scatter.matrix)
        root = values.clamp(min=0).sqrt()[:, None] * vectors.T
        return scatter.matrix, torch.cat([mean[None], root])


def _dominates(square: Tensor, rows: int, gram: Tensor) -> bool:
    """Whether a mean of this squared norm has much more energy than the rest."""
    return bool(rows * square > DOMINANT * gram.diagonal().sum())


def _clean(values: Tensor, floor: float) -> Tensor:
    """Zeros for what is not above ``floor`` times the first, which is the largest."""
    return torch.where(values > floor * values[:1], values, 0.0)
