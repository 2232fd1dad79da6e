"""A verdict at a glance: the effect as a dot, its interval as a bar, against the bound the claim states."""

import math
from collections.abc import Sequence

from lowland.report.effect import Effect

__all__ = ["strip", "strips"]


def strips(effects: Sequence[Effect]) -> tuple[str, ...]:
    """One strip per effect; effects of the same unit share a scale.

    Returns:
        SVG elements that take the width of their place; the text beside them says the same in words.
    """
    scales = {unit: _scale([each for each in effects if each.unit == unit]) for unit in _units(effects)}
    return tuple(strip(effect, *scales[effect.unit]) for effect in effects)


def strip(effect: Effect, low: float, high: float) -> str:
    """The strip of one effect on a scale from ``low`` to ``high``, in the effect's unit.

    An interval without bounds runs over the whole width, dashed.
    """
    spot = lambda value: 100 * (min(max(value, low), high) - low) / (high - low)  # noqa: E731 - one scale
    start, end = _side(effect, low, high)
    known = math.isfinite(effect.low) and math.isfinite(effect.high)
    kind = "bar" if known else "bar open"
    bounds = [-effect.bound, effect.bound] if effect.expected == "within" else [effect.bound]
    lines = "".join(_line("bound", spot(bound), spot(bound), 2, 26) for bound in bounds)
    dot = f'<circle class="dot" cx="{spot(effect.value):.2f}%" cy="14" r="5"/>' if known else ""
    return (
        '<svg class="strip" height="28" aria-hidden="true">'
        f'<rect class="side" x="{spot(start):.2f}%" width="{spot(end) - spot(start):.2f}%" y="2" height="24"/>'
        f"{lines}{_line(kind, spot(effect.low), spot(effect.high), 14, 14)}{dot}</svg>"
    )


def _units(effects: Sequence[Effect]) -> set[str]:
    return {effect.unit for effect in effects}


def _scale(effects: Sequence[Effect]) -> tuple[float, float]:
    ends = [value for each in effects for value in (each.value, each.low, each.high, each.bound)]
    ends += [-each.bound for each in effects if each.expected == "within"]
    known = [value for value in ends if math.isfinite(value)]
    pad = 0.12 * (max(known) - min(known)) or 1.0
    return min(known) - pad, max(known) + pad


def _side(effect: Effect, low: float, high: float) -> tuple[float, float]:
    if effect.expected == "within":
        return -effect.bound, effect.bound
    return (effect.bound, high) if effect.expected == "above" else (low, effect.bound)


def _line(kind: str, x1: float, x2: float, y1: int, y2: int) -> str:
    return f'<line class="{kind}" x1="{x1:.2f}%" x2="{x2:.2f}%" y1="{y1}" y2="{y2}"/>'
