"""One radius or several."""

from collections.abc import Sequence

from lowland.checks import at_least

__all__ = ["radii"]


def radii(rho: float | Sequence[float]) -> list[float]:
    """The radii, each once, in rising order.

    Raises:
        ValueError: If there are none, or one is negative or not finite.

    Example:
        >>> radii((0.2, 0.1)), radii(0.05)
        ([0.1, 0.2], [0.05])
    """
    given = rho if isinstance(rho, Sequence) else [rho]
    for each in given:
        at_least("rho", each, 0.0)
    if not given:
        raise ValueError("rho must be a radius or several, got none.")
    return sorted(set(given))
