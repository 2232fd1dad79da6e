"""The approximate eigenpairs at one end of what a basis knows, and whether they are near enough."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lowland.estimate.lanczos import Lanczos
from lowland.estimate.ritz import Ritz

__all__ = ["ENDS", "End", "Outermost"]

End = Literal["largest", "smallest", "magnitude"]

ENDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "largest": lambda values: values,
    "smallest": lambda values: -values,
    "magnitude": np.abs,
}


@dataclass(frozen=True)
class Outermost:
    """The k pairs at one end, or all m while the basis has fewer.

    Attributes:
        values: Falling, of shape ``(k,)``.
        coordinates: Of the vectors in the basis, of shape ``(m, k)``.
        errors: Of the values, if products are exact, of shape ``(k,)``.
        noise: What products that contradict each other add to that, of shape ``(k,)``.
        rounding: What they may all be off by besides.
        allowed: Error, of shape ``(k,)``; no less than the rounding.
    """

    values: np.ndarray
    coordinates: np.ndarray
    errors: np.ndarray
    noise: np.ndarray
    rounding: float
    allowed: np.ndarray

    @classmethod
    def of(cls, lanczos: Lanczos, k: int, end: End, tol: float = 0.0, *, sharp: bool = False) -> "Outermost":
        """The pairs at ``end``; ``sharp`` takes the gaps between all values at their word."""
        ritz = lanczos.ritz()
        errors = _sharper(ritz, k) if sharp else ritz.residuals
        chosen = np.sort(np.argsort(ENDS[end](ritz.values))[-k:])[::-1]
        values = ritz.values[chosen]
        allowed = np.maximum(tol * abs(values), lanczos.rounding)
        noise = ritz.noise[chosen]
        return cls(values, ritz.vectors[:, chosen], errors[chosen], noise, lanczos.rounding, allowed)

    @property
    def bounds(self) -> np.ndarray:
        """No eigenvalue of the matrix needs to be further from a value than this, shape ``(k,)``."""
        return self.errors + self.noise + self.rounding

    def near(self, k: int) -> bool:
        """Whether there are k, and more products of this kind would not be needed."""
        return len(self.values) == k and bool((self.errors <= self.allowed).all())

    @property
    def sound(self) -> np.ndarray:
        """For each, whether it is near enough with its noise."""
        return self.errors + self.noise <= self.allowed

    def like(self, other: "Outermost | None") -> bool:
        """Whether the values are those of ``other``."""
        return (
            other is not None
            and len(self.values) == len(other.values)
            and bool((abs(self.values - other.values) <= self.allowed).all())
        )


def _sharper(ritz: Ritz, k: int) -> np.ndarray:
    """The smaller of r and r^2 / gap, where the gap shrinks by what is unsure of both of its ends."""
    r = ritz.residuals
    if len(r) < k + 2:
        return r
    gaps = abs(ritz.values[:, None] - ritz.values) - r[:, None] - r
    np.fill_diagonal(gaps, np.inf)
    longest = np.maximum(gaps.min(axis=1), r)
    return np.divide(r**2, longest, out=np.zeros_like(r), where=longest > 0)
