"""A batch that may be taken apart, once per pass."""

from collections.abc import MutableMapping
from copy import copy
from typing import TypeVar

from torch.utils import _pytree as pytree

__all__ = ["fresh"]

Batch = TypeVar("Batch")


def fresh(batch: Batch) -> Batch:
    """The same tensors in containers of their own, so that a step may pop from them and yet be repeated.

    Example:
        >>> batch = {"x": [1, 2], "y": 3}
        >>> fresh(batch).pop("y"), batch
        (3, {'x': [1, 2], 'y': 3})
    """
    return pytree.tree_map(lambda leaf: copy(leaf) if isinstance(leaf, MutableMapping) else leaf, batch)
