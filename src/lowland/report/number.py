"""Numbers as a reader wants them: few digits, a true minus sign, and words for what is no number."""

import math

__all__ = ["number", "places"]


def number(value: float, digits: int | None = None) -> str:
    """Write a number with ``digits`` decimals, or about three significant digits if None.

    Whole numbers keep all their digits; a thin space groups thousands from 10 000 on.

    Example:
        >>> number(-0.12345), number(4544), number(0.1), number(2e-9)
        ('−0.123', '4544', '0.1', '2e−09')
    """
    if not math.isfinite(value):
        return "–" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    if digits is not None and abs(value) < 1e7:
        return _sign(_grouped(value, digits))
    if value == int(value) and abs(value) < 1e15:
        return _sign(_grouped(value, 0))
    if abs(value) < 1e-4 or abs(value) >= 1e7:
        return _sign(f"{value:.3g}")
    digits = max(0, 2 - _magnitude(value))
    text = _grouped(value, digits)
    return _sign(text.rstrip("0").rstrip(".") if digits else text)


def places(half_width: float, value: float) -> int | None:
    """How many decimals a value deserves: two significant digits of its uncertainty, at most six decimals.

    Args:
        half_width: Half the width of its interval, at least 0; infinite or 0 says nothing.
        value: The value itself, which decides where the interval says nothing.

    Returns:
        A count of decimals, or None for the default of :func:`number`.

    Example:
        >>> places(0.051, -0.93), places(130.0, 4544.0), places(0.0, 3.0)
        (3, 0, None)
    """
    if not math.isfinite(half_width) or not half_width > 1e-9 * abs(value):
        return None
    return min(6, max(0, 1 - _magnitude(half_width)))


def _magnitude(value: float) -> int:
    return math.floor(math.log10(abs(value)))


def _grouped(value: float, digits: int) -> str:
    text = f"{value:,.{digits}f}"
    if float(text.replace(",", "")) == 0:
        text = text.removeprefix("-")
    return text.replace(",", "\u2009" if abs(value) >= 10_000 else "")


def _sign(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")
