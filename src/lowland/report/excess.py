"""How far one quantity is above another where runs come in pairs."""

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from lowland.report.interval import Interval, interval

if TYPE_CHECKING:
    from lowland.types import Row

__all__ = ["excess"]


def excess(pairs: "Sequence[Row]", one: str, other: str) -> Interval:
    """By how many percent one column is above another: of each seed the mean over its rows, over the seeds.

    Args:
        pairs: Rows with ``seed`` and both columns, at least one; a seed may have several.
        one: Name of a column.
        other: Name of the column that it is taken in percent of, not 0.

    Raises:
        ValueError: If there are no rows.

    Example:
        >>> pairs = [{"seed": seed, "sam": 3.0, "sgd": sgd} for seed in (0, 1, 2) for sgd in (2.0, 4.0)]
        >>> print(excess(pairs, "sam", "sgd"))
        12.5 [12.5, 12.5]
    """
    percent: dict[int, list[float]] = {}
    for pair in pairs:
        percent.setdefault(pair["seed"], []).append(100 * (pair[one] / pair[other] - 1))
    return interval([fmean(found) for found in percent.values()])
