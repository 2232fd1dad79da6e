"""Looks at the model at the end of an epoch, such as a probe of its feature rank."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from lowland.observe.untouched import untouched
from lowland.types import Row

__all__ = ["Hook", "Moment", "look"]


@dataclass(frozen=True, kw_only=True)
class Moment:
    """When a hook is called.

    Attributes:
        epoch: Epochs done, from 1.
        epochs: Epochs of the whole training.
        row: The epoch's row so far: its loss, accuracy, learning rate and so on.
    """

    epoch: int
    epochs: int
    row: Row


Hook = Callable[[nn.Module, Moment], Row | None]
"""Looks at the model after an epoch; what it returns joins the row. Changes to the model are undone."""


def look(hooks: Sequence[Hook], model: nn.Module, moment: Moment) -> dict[str, Any]:
    """The row, with what the hooks have to add.

    Every hook is called under a guard that leaves model and random streams bit for bit as they were, so
    training goes the same way with hooks and without.

    Raises:
        TypeError: If a hook returns something that is not plain JSON.
        ValueError: If a hook returns a name that the row has already.
    """
    row = dict(moment.row)
    for hook in hooks:
        with untouched(model):
            found = hook(model, moment)
        _check(hook, found or {}, row)
        row.update(found or {})
    return row


def _check(hook: Hook, found: Row, row: Row) -> None:
    name = getattr(hook, "__name__", type(hook).__name__)
    taken = sorted(set(found) & set(row))
    if taken:
        raise ValueError(f"The hook {name} must return new names, got {taken[0]!r}, which the row has already.")
    try:
        json.dumps(dict(found))
    except TypeError as error:
        raise TypeError(f"The hook {name} must return plain numbers and strings, got: {error}.") from error
