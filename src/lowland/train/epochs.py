"""What the loop needs of training data."""

from collections.abc import Iterator
from typing import Any, Protocol

from torch import Tensor

__all__ = ["Epochs"]


class Epochs(Protocol):
    """Batches that can be had again from any point, as :class:`lowland.data.batches.Batches` gives them."""

    def __len__(self) -> int:
        """Batches per epoch, the same in every epoch."""
        ...

    def epoch(self, k: int, start: int = 0) -> Iterator[tuple[Any, Tensor]]:
        """Batches ``start``, ``start + 1``, ... of epoch ``k`` (both from 0), the same bits at every call."""
        ...
