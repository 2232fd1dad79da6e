"""The table that most studies end with: a line for every setting, a column for every outcome."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lowland.report.figure import Curve
from lowland.report.table import Table

if TYPE_CHECKING:
    from lowland.types import Row

__all__ = ["results"]


def results(
    rows: "Sequence[Row]", title: str, by: Sequence[str], columns: Mapping[str, str], *, caption: str = ""
) -> Table:
    """Means over seeds with their intervals.

    Args:
        rows: One row per setting and seed.
        title: One line above the table.
        by: Names of the columns that make a setting, in the order of the table's first columns.
        columns: From a heading to the name of an outcome.
        caption: Said after what the numbers are.

    Returns:
        The table, settings in the order of the rows; a setting at which every seed diverged has empty cells.

    Example:
        >>> rows = [{"rho": 0.1, "seed": s, "error": s} for s in (1, 2, 3)]
        >>> print(results(rows, "Results", ["rho"], {"error (%)": "error"}).markdown().splitlines()[-1])
        | 0.1 | 2.0 [−0.5, 4.5] |
    """
    settings: dict[tuple[str | float, ...], list[Row]] = {}
    for row in rows:
        settings.setdefault(tuple(row[name] for name in by), []).append({**row, "x": 0.0})
    lines = []
    for setting, mine in settings.items():
        found = [Curve.of(mine, heading, x="x", y=name).intervals[0] for heading, name in columns.items()]
        lines.append((*setting, *found))
    said = f"Means over seeds, 95 % intervals. {caption}".strip()
    return Table(title=title, columns=(*by, *columns), rows=tuple(lines), caption=said)
