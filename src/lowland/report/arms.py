"""Arms of a comparison: which runs stand for a method, and how methods differ, paired by seed.

Rows have ``method``, ``rho``, ``seed`` and the outcome, one row per run.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from lowland.report.grid import IncompleteError
from lowland.report.interval import Interval, interval
from lowland.report.outcome import outcome_of

if TYPE_CHECKING:
    from lowland.types import Row

__all__ = ["best_radii", "contrast", "gap"]


def contrast(rows: "Sequence[Row]", weights: Mapping[str, float], outcome: str) -> Interval:
    r"""The weighted sum of several methods' outcomes, :math:`\sum_m c_m y_m`, paired by seed.

    ``{"sgd": 1, "sam": -1}`` is SGD's outcome less SAM's.

    Args:
        rows: One row per method and seed; other methods do not matter.
        weights: For each method its weight.
        outcome: Name of a column.

    Returns:
        The interval over the seeds that every method has finished, with a doubt if those are not all.

    Raises:
        IncompleteError: If a method was not run, or no seed is complete.
        ValueError: If a method has two rows with one seed.

    Example:
        >>> rows = [{"method": m, "seed": s, "error": e + s} for m, e in (("a", 3), ("b", 1)) for s in (0, 1, 2)]
        >>> print(contrast(rows, {"a": 1, "b": -1}, "error"))
        2 [2, 2]
    """
    found = {method: _by_seed(rows, method, outcome) for method in weights}
    seeds = sorted({seed for column in found.values() for seed in column})
    lost = [(m, s) for m, column in found.items() for s in seeds if not math.isfinite(column.get(s, math.nan))]
    whole = [seed for seed in seeds if all(seed != s for _, s in lost)]
    doubt = _doubt(lost, len(found) * len(seeds))
    if not whole:
        raise IncompleteError(doubt)
    values = [sum(weight * found[method][seed] for method, weight in weights.items()) for seed in whole]
    return replace(interval(values), doubt=doubt)


def gap(rows: "Sequence[Row]", method: str, other: str, outcome: str) -> Interval | None:
    """A method's outcome less another's, for tables: None for itself, and where a run is missing or diverged."""
    with suppress(IncompleteError):
        found = contrast(rows, {method: 1, other: -1}, outcome) if method != other else None
        return None if found is None or found.doubt else found
    return None


def best_radii(rows: "Sequence[Row]", outcome: str) -> "list[Row]":
    """Of every method and seed the run at one radius: the one with the lowest mean outcome over the *other* seeds.

    A seed is never scored where it helped choose. A radius at which another seed diverged is not chosen, unless
    there is none else; among equals, and with a single seed, the smallest is.

    Args:
        rows: One row per method, radius and seed.
        outcome: Name of a column; lower is better.

    Returns:
        The rows, one per method and seed, in their order.
    """
    return [row for row in rows if row["rho"] == _choice(rows, row, outcome)]


def _choice(rows: "Sequence[Row]", mine: "Row", outcome: str) -> float:
    others: dict[float, float] = {}
    for row in rows:
        if row["method"] != mine["method"]:
            continue
        value = 0.0 if row["seed"] == mine["seed"] else outcome_of(row, outcome)
        others[row["rho"]] = others.get(row["rho"], 0.0) + (math.inf if math.isnan(value) else value)
    return min(sorted(others), key=lambda rho: others[rho])


def _by_seed(rows: "Sequence[Row]", method: str, outcome: str) -> dict[int, float]:
    mine = [row for row in rows if row["method"] == method]
    found = {row["seed"]: outcome_of(row, outcome) for row in mine}
    if not mine:
        raise IncompleteError(f"{method} was not run.")
    if len(found) < len(mine):
        raise ValueError(f"rows must have one row per method and seed, got {len(mine)} for {method}.")
    return found


def _doubt(lost: Sequence[tuple[str, int]], total: int) -> str:
    if not lost:
        return ""
    named = "; ".join(f"{method}, seed {seed}" for method, seed in lost[:3])
    more = f"; and {len(lost) - 3} more" if len(lost) > 3 else ""
    return f"{len(lost)} of {total} runs missing or diverged ({named}{more})."
