"""What a row says about an outcome: a number, or that there is none."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lowland.types import Row

__all__ = ["outcome_of"]


def outcome_of(row: "Row", outcome: "str | Callable[[Row], float | None]") -> float:
    """The outcome of a run; nan if its row says ``diverged``, or has no such number.

    Args:
        row: One row of a study.
        outcome: Name of a column, or a function from a row to a number.

    Example:
        >>> outcome_of({"error": 2}, "error"), outcome_of({"diverged": True, "error": 2}, "error")
        (2.0, nan)
    """
    value = None if row.get("diverged") else (row.get(outcome) if isinstance(outcome, str) else outcome(row))
    return math.nan if value is None else float(value)
