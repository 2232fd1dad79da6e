"""A measured size with its interval, beside the bound that a claim states for it."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from lowland.report.interval import Interval

__all__ = ["Effect", "Outcome", "sentences"]

Outcome = Literal["holds", "fails", "inconclusive"]

FEWEST_SEEDS = 3


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A measured size beside the bound that a claim states for it.

    The claim holds as far as this effect goes if the whole interval is on the stated side of the bound, and
    fails if the whole interval is on the other side or, without width, on the bound itself.

    Attributes:
        name: What was measured, such as ``"layer 3"`` or ``"error at 0 minus error at the best rho"``.
        value: The mean over seeds, in ``unit``.
        low: Lower end of its 95 % interval; minus infinity if unknown.
        high: Upper end; infinity if unknown.
        seeds: Number of seeds; below 3 there is no verdict.
        expected: The side that supports the claim. ``within`` means between ``-bound`` and ``bound``.
        bound: What the claim states, in ``unit``; at least 0 for ``within``.
        unit: Such as ``"%"``; empty for a pure number.
        note: One more sentence for the reader.
        doubt: Why no verdict may be given, such as diverged runs; empty if nothing is against it.
    """

    name: str
    value: float
    low: float
    high: float
    seeds: int
    expected: Literal["above", "below", "within"]
    bound: float = 0.0
    unit: str = ""
    note: str = ""
    doubt: str = ""

    def __post_init__(self) -> None:
        if self.expected not in ("above", "below", "within"):
            raise ValueError(f"expected must be one of above, below, within, got {self.expected!r}.")
        if self.expected == "within" and not self.bound >= 0:
            raise ValueError(f"bound must be at least 0 for expected='within', got {self.bound}.")

    @classmethod
    def of(
        cls,
        name: str,
        interval: Interval,
        expected: Literal["above", "below", "within"],
        bound: float = 0.0,
        *,
        unit: str = "",
        note: str = "",
    ) -> "Effect":
        """The effect whose size, seeds and doubt are those of ``interval``.

        Example:
            >>> found = Interval(value=1.0, low=0.5, high=1.5, seeds=5)
            >>> Effect.of("error at 0 minus error at 0.1", found, "above", unit="%").outcome
            'holds'
        """
        return cls(
            name=name,
            value=interval.value,
            low=interval.low,
            high=interval.high,
            seeds=interval.seeds,
            expected=expected,
            bound=bound,
            unit=unit,
            note=note,
            doubt=interval.doubt,
        )

    @property
    def interval(self) -> Interval:
        """Value, ends, seeds and doubt alone."""
        return Interval(value=self.value, low=self.low, high=self.high, seeds=self.seeds, doubt=self.doubt)

    @property
    def outcome(self) -> Outcome:
        """What this effect says; *inconclusive* if there is a doubt or the interval includes the bound."""
        if self.reason_against_verdict:
            return "inconclusive"
        inside, outside = self._margins()
        if inside > 0 or (self.expected == "within" and inside == 0):
            return "holds"
        return "fails" if outside >= 0 else "inconclusive"

    @property
    def reason_against_verdict(self) -> str:
        """A sentence if no verdict may be given whatever the interval says; else empty."""
        if self.doubt:
            return self.doubt
        if self.seeds < FEWEST_SEEDS:
            return f"{self.seeds} seed{'s' * (self.seeds != 1)}; a verdict needs at least {FEWEST_SEEDS}."
        return "" if math.isfinite(self.value) else "The effect is not a finite number."

    @property
    def reason(self) -> str:
        """Why there is no clear outcome, or that the interval has no width; else empty."""
        if self.reason_against_verdict:
            return self.reason_against_verdict
        if self.outcome == "inconclusive":
            return "The interval includes the bound."
        return f"All {self.seeds} seeds gave this very value." if self.low == self.high else ""

    @property
    def margin(self) -> float:
        """How far the nearest end of the interval is inside the supporting side; below 0 if it is not."""
        return self._margins()[0]

    def record(self) -> dict[str, Any]:
        """As plain JSON; unknown ends are None."""
        sizes = {key: _finite(getattr(self, key)) for key in ("value", "low", "high")}
        rest = {"seeds": self.seeds, "expected": self.expected, "bound": self.bound, "unit": self.unit}
        return {
            "name": self.name,
            **sizes,
            **rest,
            "verdict": self.outcome,
            "note": sentences(self.note, self.reason),
        }

    def _margins(self) -> tuple[float, float]:
        if self.expected == "above":
            return self.low - self.bound, self.bound - self.high
        if self.expected == "below":
            return self.bound - self.high, self.low - self.bound
        return min(self.bound - self.high, self.low + self.bound), max(
            self.low - self.bound, -self.bound - self.high
        )


def sentences(*texts: str) -> str:
    """The texts that say something, each once, in their order, as one line.

    Example:
        >>> sentences("One.", "", "Two.", "One.")
        'One. Two.'
    """
    return " ".join(dict.fromkeys(text for text in texts if text))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
