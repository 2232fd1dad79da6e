"""One run of a study's grid: a flat dict of plain values, such as ``{"method": "sgd", "seed": 0}``."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence

__all__ = ["Cell", "check_cells", "describe", "key", "to_json"]

Cell = Mapping[str, object]
"""Names and plain values (text, numbers, booleans, None) that tell one run from every other."""


def key(cell: Cell) -> str:
    """A file name for a cell: readable, and different for different cells.

    Example:
        >>> key({"method": "sam:rho=0.1", "seed": 3})
        'sam-rho-0.1-3-949001f4'
    """
    words = "-".join(str(value) for value in cell.values() if value is not None)
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", words).strip("-.")[:60]
    return f"{slug}-{hashlib.sha256(to_json(cell).encode()).hexdigest()[:8]}".lstrip("-")


def describe(cell: Cell) -> str:
    """A cell in words.

    Example:
        >>> describe({"method": "sam:rho=0.1", "seed": 3})
        'method sam:rho=0.1, seed 3'
    """
    return ", ".join(f"{name} {value}" for name, value in cell.items())


def to_json(value: object) -> str:
    """One line of JSON, the same bytes for the same value; a TypeError if one inside is not plain.

    Example:
        >>> to_json({"rho": 0.1, "loss": [1.0, float("nan")]})
        '{"rho": 0.1, "loss": [1.0, NaN]}'
    """
    return json.dumps(value, ensure_ascii=False, default=_refuse)


def check_cells(study: str, cells: Sequence[Cell]) -> None:
    """Refuse a grid that is empty or names one run twice.

    Raises:
        ValueError: If it is so.
    """
    if not cells:
        raise ValueError(f"{study} must have at least one run with these settings, got none.")
    seen: set[str] = set()
    for cell in cells:
        text = to_json(cell)
        if text in seen:
            raise ValueError(f"{study} must list each run once, got {describe(cell)} twice.")
        seen.add(text)


def _refuse(value: object) -> None:
    raise TypeError(
        f"Rows and cells must hold plain numbers, text, lists and booleans, got {type(value).__name__}. "
        "Turn tensors into numbers with .item() or .tolist()."
    )
