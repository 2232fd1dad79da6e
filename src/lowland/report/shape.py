"""The shape of an outcome over a grid: does it fall, does it dip and rise again, what is it at equal loss."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lowland.report.grid import Grid, IncompleteError
from lowland.report.interval import Interval, paired
from lowland.report.number import number

__all__ = ["Dip", "at_level", "dip", "spearman", "trend"]


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Rank correlation of two sequences, in [-1, 1]; ties share their mean rank; 0 if either is constant.

    Args:
        x: At least two numbers, such as the grid.
        y: As many, such as the outcome of one seed.

    Returns:
        1 if y rises wherever x does, -1 if it falls, 0 without association.

    Raises:
        ValueError: If the lengths differ or are below 2.

    Example:
        >>> spearman([0, 1, 2], [5, 5, 5]), spearman([0, 1, 2], [9, 7, 1])
        (0.0, -1.0)
    """
    if len(x) != len(y) or len(x) < 2:
        raise ValueError(f"x and y must have the same length of at least 2, got {len(x)} and {len(y)}.")
    if min(x) == max(x) or min(y) == max(y):
        return 0.0
    from scipy.stats import rankdata

    return round(statistics.correlation(rankdata(x).tolist(), rankdata(y).tolist()), 12)


def trend(grid: Grid) -> Interval:
    """Spearman correlation of outcome and setting, computed per seed; mean and t-interval over seeds.

    The seed is the unit that is repeated, so the interval speaks about new seeds on the same grid.

    Returns:
        The interval, cut off at -1 and 1. No width if the order is the same in every seed.

    Raises:
        IncompleteError: If the grid has a single setting.

    Limits:
        The distribution is skewed near -1 and 1, where the interval is approximate.
    """
    if len(grid.points) < 2:
        raise IncompleteError(f"A trend needs at least 2 values of {grid.over}, got {len(grid.points)}.")
    found = grid.interval(lambda row: spearman(grid.points, row))
    return replace(found, low=max(-1.0, found.low), high=min(1.0, found.high))


@dataclass(frozen=True, kw_only=True)
class Dip:
    """How far an outcome falls from 0 to its best setting, and rises again to the largest.

    Attributes:
        fall: Outcome at 0 minus outcome at the best interior setting; above 0 if that setting is better.
        rise: Outcome at the largest setting minus outcome at the best interior one.
        chosen: The best interior setting that each seed was given by the others.
    """

    fall: Interval
    rise: Interval
    chosen: tuple[float, ...]


def dip(grid: Grid) -> Dip:
    """Test for a U-shape without the bias of picking the best: a seed is never scored where it helped choose.

    For each seed, the best setting strictly inside the grid is the one with the lowest mean over the *other*
    seeds (the smaller of equals). Both differences are paired by seed. Lower must be better: pass errors.

    Args:
        grid: Starts at setting 0, has at least 3 settings and 2 seeds.

    Returns:
        The two effects; a U-shape has both above 0.

    Raises:
        IncompleteError: If the grid is too small or does not start at 0, as when runs failed.

    Example:
        >>> rows = [{"rho": r, "seed": s, "error": (r - 1) ** 2 + s} for r in (0, 1, 2) for s in (0, 1, 2)]
        >>> print(dip(Grid.of(rows, "error")).fall)
        1 [1, 1]

    Limits:
        The choices share seeds, so the differences are not fully independent. Simulated on noise without
        any shape (4 to 8 settings, 3 to 10 seeds), each effect alone was above 0 in 3 to 6 % of studies,
        where independent ones would be in 2.5 %, and below 0 in 3 to 7 %; both were above 0 in at most
        1 %. With a clear minimum all seeds choose the same setting and the test is an ordinary paired one.
    """
    if grid.points[0] != 0 or len(grid.points) < 3:
        known = ", ".join(number(point) for point in grid.points)
        raise IncompleteError(f"A U-shape needs {grid.over} 0 and at least 2 larger values, got {known}.")
    if len(grid.seeds) < 2:
        raise IncompleteError(f"A U-shape needs at least 2 complete seeds, got {len(grid.seeds)}.")
    picks = [_best_without(grid, seed) for seed in range(len(grid.seeds))]
    best = [row[pick] for row, pick in zip(grid.values, picks, strict=True)]
    return Dip(
        fall=replace(paired([row[0] for row in grid.values], best), doubt=grid.doubt),
        rise=replace(paired([row[-1] for row in grid.values], best), doubt=grid.doubt),
        chosen=tuple(grid.points[pick] for pick in picks),
    )


def at_level(levels: Sequence[float], values: Sequence[float], level: float) -> float | None:
    """The value of one curve where another first falls to ``level``: compares runs at equal training loss.

    Args:
        levels: For example the training loss of every epoch, in order of time.
        values: For example the feature rank of the same epochs.
        level: The loss to compare at.

    Returns:
        The value, interpolated between the two epochs around the first crossing; the first value if the
        curve starts below the level; None if it never gets there.

    Raises:
        ValueError: If the lengths differ or are 0.

    Example:
        >>> at_level([2.0, 1.0, 0.5], [100.0, 80.0, 60.0], 0.75)
        70.0
    """
    if len(levels) != len(values) or not levels:
        raise ValueError(
            f"levels and values must have the same length of at least 1, got {len(levels)}, {len(values)}."
        )
    at = next((i for i, found in enumerate(levels) if found <= level), None)
    if at is None or at == 0:
        return None if at is None else values[0]
    share = (levels[at - 1] - level) / (levels[at - 1] - levels[at])
    return values[at - 1] + share * (values[at] - values[at - 1])


def _best_without(grid: Grid, seed: int) -> int:
    others = [row for other, row in enumerate(grid.values) if other != seed]
    return min(range(1, len(grid.points) - 1), key=lambda point: sum(row[point] for row in others))
