"""Checks at the door. Each raises a sentence: what must hold, what was given, what to do."""

import difflib
import math
from collections.abc import Iterable, Sequence

__all__ = ["ascending", "at_least", "finite", "fraction", "nearest", "one_of", "unknown", "whole"]


def ascending(name: str, values: Sequence[float], *, first: float | None = None, least: int = 1) -> None:
    """Refuse numbers that do not rise, each above the one before it.

    Args:
        name: Of the setting.
        values: Its values.
        first: What they must begin with; None: anything above 0.
        least: How many there must be, at most 3.

    Raises:
        TypeError: If one is not a number.
        ValueError: If one is negative or not finite, or they do not rise, begin elsewhere or are too few.
    """
    for value in values:
        at_least(name, value, 0)
    begins = bool(values) and (values[0] > 0 if first is None else values[0] == first)
    if not begins or len(values) < least or list(values) != sorted(set(values)):
        start, count = "above 0" if first is None else f"{first:g}", ("one", "two", "three")[least - 1]
        raise ValueError(f"{name} must ascend from {start} and be at least {count}, got {values}.")


def at_least(name: str, value: float, low: float) -> None:
    """Refuse a value that is not a finite number >= ``low``.

    Raises:
        TypeError: If ``value`` is not a number.
        ValueError: If ``value`` is below ``low``, infinite or not a number.
    """
    _refuse_non_number(name, value)
    if not math.isfinite(value) or value < low:
        raise ValueError(f"{name} must be a finite number >= {low:g}, got {value}.")


def finite(name: str, value: float) -> None:
    """Refuse a value that is not a finite number.

    Raises:
        TypeError: If ``value`` is not a number.
        ValueError: If ``value`` is infinite or not a number.
    """
    _refuse_non_number(name, value)
    if not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value}.")


def fraction(name: str, value: float, *, zero: bool = True, one: bool = True) -> None:
    """Refuse a value outside the unit interval; ``zero`` and ``one`` say whether the ends are allowed.

    Raises:
        TypeError: If ``value`` is not a number.
        ValueError: If ``value`` is outside.
    """
    _refuse_non_number(name, value)
    inside = 0 < value < 1 or (zero and value == 0) or (one and value == 1)
    if not inside:
        raise ValueError(f"{name} must be in {'[' if zero else '('}0, 1{']' if one else ')'}, got {value}.")


def whole(name: str, value: int, low: int = 1) -> None:
    """Refuse anything but a whole number >= ``low``.

    Raises:
        TypeError: If ``value`` is not an int.
        ValueError: If ``value`` is below ``low``.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, got {value!r}.")
    if value < low:
        raise ValueError(f"{name} must be at least {low}, got {value}.")


def one_of(name: str, value: str, choices: Iterable[str]) -> None:
    """Refuse a value that is not one of ``choices``.

    Raises:
        ValueError: If it is not; the sentence lists the choices.
    """
    choices = list(choices)
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}.")


def nearest(name: str, choices: Iterable[str]) -> list[str]:
    """Up to three of ``choices`` that look like ``name``, best first."""
    return difflib.get_close_matches(name, list(choices), n=3, cutoff=0.5)


def unknown(kind: str, name: str, choices: Iterable[str]) -> str:
    """The sentence for a name nobody knows: says the nearest, then lists all."""
    choices = sorted(choices)
    close = nearest(name, choices)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    return f"There is no {kind} called {name!r}.{hint} There are: {', '.join(choices)}."


def _refuse_non_number(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, got {value!r}.")
