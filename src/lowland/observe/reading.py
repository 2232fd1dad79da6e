"""What a measurement returns: a number that knows its unit, its settings and how sure it is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lowland.types import Row

__all__ = ["Reading", "over_seeds"]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One number that was measured.

    Example:
        >>> str(Reading(name="accuracy", value=0.75, stderr=0.05, unit="fraction"))
        'accuracy: 0.75 +- 0.05 fraction'
    """

    name: str
    """The quantity, such as ``feature_rank``."""
    value: float
    """The number, in ``unit``."""
    site: str = ""
    """The layer it was measured at; empty for the model as a whole."""
    stderr: float | None = None
    """Standard error of ``value``, in ``unit``; None where the value is a fact about the data given."""
    unit: str = ""
    """What ``value`` counts; empty for a number without unit."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Everything one must know to measure it again: split, examples, thresholds. Plain JSON values."""

    def row(self) -> Row:
        """The reading as one flat line of JSON: name, site, value, stderr, unit, then the settings."""
        head = {"name": self.name, "site": self.site, "value": self.value}
        return {**head, "stderr": self.stderr, "unit": self.unit, **self.settings}

    def __str__(self) -> str:
        where = f" at {self.site}" if self.site else ""
        error = "" if self.stderr is None else f" +- {self.stderr:.3g}"
        return f"{self.name}{where}: {self.value:.6g}{error} {self.unit}".rstrip()


def over_seeds(readings: Sequence[Reading]) -> Reading:
    r"""One quantity over independent seeds: the mean, with its standard error :math:`s/\sqrt{m}`.

    The error is the spread between the seeds, which already contains each reading's own sampling error.

    Args:
        readings: m >= 2 readings of the same name, site and unit, one for each seed.

    Returns:
        The mean reading. Its settings are those that all agree on, and ``seeds`` = m.

    Raises:
        ValueError: If there are fewer than two readings, or they are not of one quantity.

    Example:
        >>> over_seeds([Reading(name="accuracy", value=v) for v in (0.7, 0.9)]).value
        0.8
    """
    if len(readings) < 2:
        raise ValueError(
            f"readings must be at least 2, one for each seed, got {len(readings)}. One seed has no spread."
        )
    kinds = sorted({(r.name, r.site, r.unit) for r in readings})
    if len(kinds) > 1:
        raise ValueError(f"readings must be of one name, site and unit, got {kinds}. Group them first.")
    values = [r.value for r in readings]
    mean = math.fsum(values) / len(values)
    variance = math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)
    name, site, unit = kinds[0]
    return Reading(
        name=name,
        site=site,
        unit=unit,
        value=mean,
        stderr=math.sqrt(variance / len(values)),
        settings={**_agreed(readings), "seeds": len(values)},
    )


def _agreed(readings: Sequence[Reading]) -> dict[str, Any]:
    first, *others = (r.settings for r in readings)
    missing = object()
    return {k: v for k, v in first.items() if all(o.get(k, missing) == v for o in others)}
