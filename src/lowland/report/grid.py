"""One outcome over a grid of settings, seed by seed: what most claims look at."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lowland.report.effect import sentences
from lowland.report.interval import Interval, interval
from lowland.report.number import number
from lowland.report.outcome import outcome_of

if TYPE_CHECKING:
    from lowland.types import Row

__all__ = ["Grid", "IncompleteError"]


class IncompleteError(LookupError):
    """Raised where the rows a check needs are not there; the claim's verdict is then *inconclusive*."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table of one outcome: a row per seed, a column per setting; only seeds that have every setting.

    Attributes:
        over: Name of the setting, such as ``rho``.
        points: Its values, ascending; p of them.
        seeds: The complete seeds, ascending; n of them, at least one.
        values: The outcome, shape ``(n, p)``.
        doubt: What is missing or diverged, as a sentence; empty if nothing. It forbids a verdict, because the
            seeds that survive are not a fair sample; see :class:`lowland.report.effect.Effect`.
    """

    over: str
    points: tuple[float, ...]
    seeds: tuple[int, ...]
    values: tuple[tuple[float, ...], ...]
    doubt: str = ""

    @classmethod
    def of(
        cls,
        rows: "Iterable[Row]",
        outcome: "str | Callable[[Row], float]",
        *,
        over: str = "rho",
        where: Mapping[str, Any] | None = None,
    ) -> "Grid":
        """Gather the grid from result rows.

        A run counts as diverged if its row says ``diverged`` or its outcome is None or not finite. Two rows
        with the same seed and setting are refused.

        Args:
            rows: Rows with the setting, ``seed`` and the outcome.
            outcome: Name of a column, or a function from a row to the outcome.
            over: Name of the column with the setting.
            where: Values that other columns must have, such as ``{"layer": "layer3"}``.

        Returns:
            The grid of the complete seeds.

        Raises:
            IncompleteError: If there are no such rows or no seed is complete.

        Example:
            >>> rows = [{"rho": r, "seed": s, "error": r + s} for r in (0.0, 0.1) for s in (0, 1)]
            >>> Grid.of(rows, "error").values
            ((0.0, 0.1), (1.0, 1.1))
        """
        found = _cells(rows, outcome, over, where or {})
        points = tuple(sorted({point for point, _ in found}))
        seeds = sorted({seed for _, seed in found})
        bad = [(p, s) for s in seeds for p in points if not math.isfinite(found.get((p, s), math.nan))]
        whole = tuple(seed for seed in seeds if all(seed != s for _, s in bad))
        doubt = _doubt(bad, len(points) * len(seeds), over, found.keys())
        if not whole:
            raise IncompleteError(doubt or f"There are no rows with {over} and seed to look at.")
        values = tuple(tuple(found[point, seed] for point in points) for seed in whole)
        return cls(over=over, points=points, seeds=whole, values=values, doubt=doubt)

    def column(self, point: float) -> tuple[float, ...]:
        """The outcome at one setting, seed by seed, shape ``(n,)``.

        Raises:
            LookupError: If the grid has no such setting.
        """
        at = self._place(point)
        return tuple(row[at] for row in self.values)

    def contrast(self, weights: Mapping[float, float]) -> Interval:
        r"""The weighted sum of the outcomes at several settings, :math:`\sum_p c_p y_p`, paired by seed.

        ``{0.1: 1, 0.0: -1}`` is the outcome at 0.1 less that at 0; ``{0.1: 1}`` is that at 0.1.

        Returns:
            The interval over the seeds, with the grid's doubt.

        Raises:
            LookupError: If the grid has no such setting.
        """
        places = {point: self._place(point) for point in weights}
        return self.interval(lambda row: sum(weight * row[places[point]] for point, weight in weights.items()))

    def interval(self, size: Callable[[tuple[float, ...]], float]) -> Interval:
        """The mean of a size that each seed's outcomes, shape ``(p,)``, give; with the grid's doubt.

        Example:
            >>> grid = Grid(over="rho", points=(0, 1), seeds=(0, 1, 2), values=((9, 8), (5, 3), (4, 1)))
            >>> print(grid.interval(lambda row: row[-1] - row[0]))
            −2.0 [−4.5, 0.5]
        """
        return replace(interval([size(row) for row in self.values]), doubt=self.doubt)

    def beside(self, other: "Grid", size: Callable[[tuple[float, ...], tuple[float, ...]], float]) -> Interval:
        """The mean of a size that each seed's outcomes in this grid and in another give, for the seeds of both.

        Returns:
            The interval, with the doubts of both grids.

        Raises:
            IncompleteError: If no seed is in both.

        Example:
            >>> one = Grid(over="rho", points=(0,), seeds=(0, 1), values=((9,), (5,)))
            >>> other = Grid(over="rho", points=(0,), seeds=(1, 2), values=((4,), (8,)))
            >>> one.beside(other, lambda mine, its: mine[0] - its[0]).value
            1.0
        """
        theirs = dict(zip(other.seeds, other.values, strict=True))
        pairs = [(row, theirs[s]) for s, row in zip(self.seeds, self.values, strict=True) if s in theirs]
        doubt = sentences(self.doubt, other.doubt)
        if not pairs:
            raise IncompleteError(doubt or f"There is no seed with all {self.over} of both.")
        return replace(interval([size(mine, its) for mine, its in pairs]), doubt=doubt)

    def _place(self, point: float) -> int:
        if point not in self.points:
            known = ", ".join(number(p) for p in self.points)
            raise LookupError(f"{self.over} must be one of {known}, got {point}.")
        return self.points.index(point)


def _cells(
    rows: "Iterable[Row]", outcome: "str | Callable[[Row], float]", over: str, where: Mapping[str, Any]
) -> dict[tuple[float, int], float]:
    cells: dict[tuple[float, int], float] = {}
    for row in rows:
        if any(row.get(key) != value for key, value in where.items()):
            continue
        cell = (row[over], row["seed"])
        if cell in cells:
            raise ValueError(
                f"rows must have one row per {over} and seed, got two for {over}={cell[0]}, seed {cell[1]}. "
                "Narrow them with where=."
            )
        cells[cell] = outcome_of(row, outcome)
    return cells


def _doubt(bad: list[tuple[float, int]], total: int, over: str, found: Iterable[tuple[float, int]]) -> str:
    if not bad:
        return ""
    known = set(found)
    named = [f"{over} {number(p)}, seed {s} {'diverged' if (p, s) in known else 'is missing'}" for p, s in bad[:3]]
    more = f"; and {len(bad) - 3} more" if len(bad) > 3 else ""
    return f"{len(bad)} of {total} runs missing or diverged ({'; '.join(named)}{more})."
