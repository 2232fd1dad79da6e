"""Means over seeds, one by one and as a table."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lowland.report.interval import Interval, interval
from lowland.report.outcome import outcome_of
from lowland.report.table import Cell, Table

if TYPE_CHECKING:
    from lowland.types import Row

__all__ = ["mean", "means"]


def mean(rows: "Sequence[Row]", column: str, *, where: Mapping[str, object] | None = None) -> Interval | None:
    """The mean of a column over the seeds that did not diverge; None if all did.

    Args:
        rows: One row per setting and seed.
        column: Of the outcome.
        where: Values that other columns must have.

    Example:
        >>> rows = [{"method": "sam", "error": error} for error in (1, 2, 3)]
        >>> print(mean(rows, "error", where={"method": "sam"}))
        2.0 [−0.5, 4.5]
    """
    mine = [row for row in rows if all(row.get(name) == value for name, value in (where or {}).items())]
    known = [value for value in (outcome_of(row, column) for row in mine) if math.isfinite(value)]
    return interval(known) if known else None


def means(
    rows: "Sequence[Row]",
    title: str,
    *,
    by: Mapping[str, str],
    of: Mapping[str, str],
    caption: str = "Means over seeds, 95 % intervals.",
) -> Table:
    """A table with a line for every setting, in the order of the rows.

    Args:
        rows: One row per setting and seed.
        title: Of the table.
        by: Headings, and the columns that make up a setting.
        of: Headings, and the columns that are averaged over the seeds, as :func:`mean` does.
        caption: Of the table.

    Example:
        >>> rows = [{"rho": 0.1, "seed": s, "error": s} for s in (1, 2, 3)]
        >>> table = means(rows, "Results", by={"rho": "rho"}, of={"error (%)": "error"})
        >>> print(table.markdown().splitlines()[-1])
        | 0.1 | 2.0 [−0.5, 4.5] |
    """
    settings = dict.fromkeys(tuple(row[column] for column in by.values()) for row in rows)
    lines: list[tuple[Cell, ...]] = []
    for setting in settings:
        where = dict(zip(by.values(), setting, strict=True))
        lines.append((*setting, *(mean(rows, column, where=where) for column in of.values())))
    return Table(title=title, columns=(*by, *of), rows=tuple(lines), caption=caption)
