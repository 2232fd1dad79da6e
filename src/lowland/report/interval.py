"""How sure a mean over seeds is: Student's t-interval, for one arm or for paired differences."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from lowland.report.number import number, places

__all__ = ["Interval", "interval", "paired"]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean over seeds and the range that its true value lies in, at 95 % confidence unless asked otherwise.

    Attributes:
        value: The mean over seeds.
        low: Lower end; minus infinity for one seed, which says nothing about the spread.
        high: Upper end; infinity for one seed.
        seeds: How many seeds the mean is over, at least 1.
        doubt: Why the seeds are no fair sample, such as diverged runs; empty if they are.

    Example:
        >>> print(Interval(value=-0.931, low=-0.982, high=-0.88, seeds=5))
        −0.931 [−0.982, −0.880]
    """

    value: float
    low: float
    high: float
    seeds: int
    doubt: str = ""

    @property
    def half_width(self) -> float:
        """Half the distance between the ends; infinite for one seed, 0 if every seed gave the same value."""
        return (self.high - self.low) / 2

    def text(self, digits: int | None = None) -> str:
        """Value and ends with ``digits`` decimals; None gives what the width deserves."""
        digits = self.digits if digits is None else digits
        if not math.isfinite(self.half_width):
            return number(self.value)
        return f"{number(self.value, digits)} [{number(self.low, digits)}, {number(self.high, digits)}]"

    @property
    def digits(self) -> int | None:
        """Decimals that the width deserves; None if it says nothing."""
        return places(self.half_width, self.value)

    def __str__(self) -> str:
        return self.text()


def interval(values: Sequence[float], *, confidence: float = 0.95) -> Interval:
    r"""The mean over seeds with its t-interval, :math:`\bar x \pm t_{n-1} s / \sqrt n`.

    Args:
        values: One finite number per seed, at least one.
        confidence: How often such an interval covers the true mean, between 0 and 1, ends excluded.

    Returns:
        The interval: without bounds for one seed, of no width if every seed gave the same value.

    Raises:
        ValueError: If ``values`` is empty or not all finite, or ``confidence`` is outside (0, 1).

    Example:
        >>> print(interval([1.0, 2.0, 3.0]))
        2.0 [−0.5, 4.5]

    Limits:
        Exact for normal values; with a handful of skewed values the true coverage is a little lower.
    """
    if not values or not all(math.isfinite(value) for value in values):
        raise ValueError(f"values must be finite numbers, at least one, got {list(values)}.")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}.")
    count, mean = len(values), statistics.fmean(values)
    if count == 1:
        return Interval(value=mean, low=-math.inf, high=math.inf, seeds=1)
    if min(values) == max(values):
        return Interval(value=values[0], low=values[0], high=values[0], seeds=count)
    half = _quantile(count - 1, confidence) * statistics.stdev(values) / math.sqrt(count)
    return Interval(value=mean, low=mean - half, high=mean + half, seeds=count)


def paired(first: Sequence[float], second: Sequence[float], *, confidence: float = 0.95) -> Interval:
    """The mean of ``first - second``, seed by seed: what two arms share by having the same seed cancels.

    Args:
        first: One number per seed.
        second: As many, in the same order of seeds.
        confidence: See :func:`interval`.

    Returns:
        The interval of the differences.

    Raises:
        ValueError: If the arms have different numbers of seeds; and as :func:`interval`.

    Example:
        >>> print(paired([9.0, 8.0, 7.5], [8.0, 7.0, 6.5]))
        1 [1, 1]
    """
    if len(first) != len(second):
        raise ValueError(
            f"first and second must have one value per seed each, got {len(first)} and {len(second)}."
        )
    return interval([a - b for a, b in zip(first, second, strict=True)], confidence=confidence)


def _quantile(freedom: int, confidence: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + confidence / 2))
