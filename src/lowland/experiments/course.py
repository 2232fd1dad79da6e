"""The course of a training: its steps, and looks between them."""

from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import Any

from lowland.runs.context import Context
from lowland.types import Row

__all__ = ["course"]


def course(
    context: Context, batches: Iterable[tuple[Any, ...]], step: Callable[..., object], *, steps: int, looks: int
) -> Iterator[Row]:
    """Take steps, and stop for looks, evenly spread: at the start, and ``looks`` times after it.

    Where ``looks`` does not divide ``steps``, training ends with the last look, fewer than ``looks`` steps early.

    Args:
        context: Is told progress, and as ``training`` the seconds from the first look to the last, both included.
        batches: What the steps are shown, at least one more than there are steps.
        step: Takes a step on ``step(*batch)``.
        steps: In all.
        looks: After the start, at most ``steps``.

    Yields:
        Of each look ``step``, how many were taken, and whether it is the ``final`` one.

    Example:
        >>> from pathlib import Path
        >>> context = Context("cpu", Path(), lambda share: None)
        >>> list(course(context, [("a",), ("b",), ("c",)], print, steps=2, looks=1))
        a
        b
        [{'step': 0, 'final': False}, {'step': 2, 'final': True}]
    """
    began, stretch = perf_counter(), steps // looks
    for taken, batch in enumerate(batches):
        if taken % stretch == 0:
            final = taken == stretch * looks
            context.progress(taken / steps)
            yield {"step": taken, "final": final}
            if final:
                break
        step(*batch)
    context.timing("training", perf_counter() - began)
