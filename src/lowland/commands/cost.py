"""What a run cost: seconds and passes, per method where the grid has methods."""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from lowland.report.table import Cell, Table

__all__ = ["cost"]

Rows = Sequence[Mapping[str, Any]]


def cost(timings: Rows, rows: Rows, cell: Sequence[str]) -> Table | None:
    """A table of the mean cost of a run.

    Args:
        timings: Lines of ``timings.jsonl``.
        rows: Lines of ``rows.jsonl``; a number called ``passes`` counts passes per step.
        cell: Names of the values that tell runs apart; everything else in ``timings`` is seconds.

    Returns:
        One line per method, or one line if the grid has none; None if nothing was timed.
    """
    if not timings:
        return None
    groups = dict.fromkeys(_group(line) for line in timings)
    names = [name for line in timings for name in line if name not in cell]
    names = [name for name in dict.fromkeys(names) if name != "seconds"] or ["seconds"]
    counted = any("passes" in row for row in rows)
    total = sum(line["seconds"] for line in timings)
    return Table(
        title="Cost",
        columns=(
            "runs of",
            "runs",
            *(_heading(name) for name in names),
            *(["passes per step"] if counted else []),
        ),
        rows=tuple(_line(group, timings, rows, names, counted) for group in groups),
        caption=f"Means over runs. All runs together took {total:,.0f} s of computing.",
    )


def _line(group: str, timings: Rows, rows: Rows, names: Sequence[str], counted: bool) -> tuple[Cell, ...]:
    mine = [line for line in timings if _group(line) == group]
    seconds = [mean(line.get(name, 0.0) for line in mine) for name in names]
    passes = [row["passes"] for row in rows if counted and _group(row) == group and "passes" in row]
    return (group, len(mine), *seconds, *([mean(passes) if passes else None] if counted else []))


def _group(line: Mapping[str, Any]) -> str:
    return str(line.get("method", "all"))


def _heading(name: str) -> str:
    return "seconds per run" if name == "seconds" else f"{name.replace('_', ' ')} (s per run)"
