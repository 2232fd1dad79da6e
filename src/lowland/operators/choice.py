"""Which way derivatives are taken, where that is left open."""

import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import torch

from lowland.operators.derivatives.double_backward import DoubleBackward
from lowland.operators.derivatives.engine import Engine
from lowland.operators.derivatives.finite_difference import FiniteDifference

__all__ = ["Choice"]

T = TypeVar("T")

WAYS: dict[str, list[Engine]] = {
    "double_backward": [DoubleBackward(), DoubleBackward(quick=False)],
    "finite_difference": [FiniteDifference()],
}


class Choice:
    """A way to take derivatives, found by trying.

    Args:
        what: What is computed, for the warning.
        asked: The way's name, or ``auto``.

    Attributes:
        name: The way's name; ``auto`` as long as nothing was tried.
        why: Why it is this one, in words.
        engine: What takes the derivatives; None as long as nothing was tried.
    """

    def __init__(self, what: str, asked: str) -> None:
        self.what, self.name, self.why = what, asked, "as asked for"
        self.engine: Engine | None = None

    def settle(self, attempt: Callable[[Engine], T]) -> T:
        """What the attempt gives with the first engine that it works with.

        Raises:
            OutOfMemoryError: If there is not enough memory on the device.
        """
        if self.name != "auto":
            return self._first(self.name, attempt)
        try:
            found = self._first("double_backward", attempt)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.name, self.why = "finite_difference", f"going backward twice fails: {str(error).splitlines()[0]}"
            warnings.warn(f"The {self.what} is taken by finite differences, as {self.why}", stacklevel=_outside())
            return self._first(self.name, attempt)
        self.name, self.why = "double_backward", "it works, and is the most exact"
        return found

    def _first(self, name: str, attempt: Callable[[Engine], T]) -> T:
        *others, last = WAYS[name]
        for engine in others:
            with suppress(RuntimeError):
                return self._with(engine, attempt)
        return self._with(last, attempt)

    def _with(self, engine: Engine, attempt: Callable[[Engine], T]) -> T:
        found = attempt(engine)
        self.engine = engine
        return found


def _outside() -> int:
    """How many calls up the caller of this library is, seen from the function that asks."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals["__name__"].startswith("lowland."):
        level, frame = level + 1, frame.f_back
    return level
