"""The batches of a problem: the same ones, in the same order, in every pass."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from lowland.observe.ordinary import as_ordinary
from lowland.observe.steady import steady

__all__ = ["Batch", "Batches", "count_of"]


@dataclass(frozen=True)
class Batch:
    """One batch, as the loader gave it.

    Attributes:
        index: Its place in a pass.
        inputs: What the model is called with.
        targets: What the loss compares with; the whole batch where that is a mapping.
        count: How many examples it counts for.
    """

    index: int
    inputs: Any
    targets: Any
    count: int


class Batches:
    """Goes over data as often as it is asked to, each pass :func:`steady`; refuses data that changes meanwhile.

    Args:
        data: A loader or list of batches, or one batch: a pair (inputs, targets) or a mapping.
        count: Examples in a batch, from its inputs and targets.

    Raises:
        TypeError: If data cannot be passed over, or only once.
    """

    def __init__(self, data: Any, count: Callable[[Any, Any], int]) -> None:  # noqa: ANN401 - see class
        self._data = [data] if _is_one(data) else data
        self._count = count
        self._prints: list[tuple[int, int]] = []
        self._whole = False
        if not isinstance(self._data, Iterable):
            raise TypeError(f"data must be a loader, a list of batches or one batch, got {type(data).__name__}.")
        if isinstance(self._data, Iterator):
            raise TypeError(
                f"data must be passed over several times, got {type(data).__name__}, which can be read only once: "
                "pass a loader or a list."
            )

    def __iter__(self) -> Iterator[Batch]:
        number = 0
        for given in steady(self._data):
            batch = self._batch(number, given)
            if batch.count:
                self._compare(batch)
                yield batch
                number += 1
        if number == 0:
            raise ValueError("data must hold at least one example, got none.")
        if self._whole and number != len(self._prints):
            raise ValueError(
                f"data must be the same in every pass, got {number} batches after {len(self._prints)} before: "
                "pass a list, or a loader that can be passed over again."
            )
        self._whole = True

    @property
    def examples(self) -> int:
        """How many there are; a pass over the data, if there was none yet."""
        self._see()
        return sum(count for count, _ in self._prints)

    def __len__(self) -> int:
        self._see()
        return len(self._prints)

    def _see(self) -> None:
        if not self._whole:
            for _ in self:
                pass

    def _batch(self, index: int, given: Any) -> Batch:  # noqa: ANN401 - refuses what is no batch
        if isinstance(given, Mapping):
            inputs, targets = given, given
        elif isinstance(given, tuple | list) and len(given) == 2:
            inputs, targets = given
        else:
            raise TypeError(
                f"Each batch must be a pair (inputs, targets) or a mapping, got {type(given).__name__}"
                f"{f' of {len(given)}' if isinstance(given, tuple | list) else ''}."
            )
        inputs, targets = pytree.tree_map_only(Tensor, as_ordinary, (inputs, targets))
        return Batch(index, inputs, targets, int(self._count(inputs, targets)))

    def _compare(self, batch: Batch) -> None:
        seen = batch.count, _print((batch.inputs, batch.targets))
        if batch.index == len(self._prints) and not self._whole:
            self._prints.append(seen)
        elif batch.index >= len(self._prints) or seen != self._prints[batch.index]:
            raise ValueError(
                f"data must be the same in every pass, got another batch {batch.index} than before: "
                "pass a loader without random augmentation, or a list."
            )


def count_of(inputs: Any, targets: Any) -> int:  # noqa: ANN401 - whatever a loader gives
    """Rows of the first tensor among the targets, or among the inputs.

    Raises:
        TypeError: If there is no tensor with rows.
    """
    for leaf in pytree.tree_leaves((targets, inputs)):
        if isinstance(leaf, Tensor) and leaf.ndim:
            return len(leaf)
    raise TypeError("Each batch must hold a tensor with one row for each example, got none.")


def _is_one(data: object) -> bool:
    pair = isinstance(data, tuple | list) and len(data) == 2 and isinstance(data[1], Tensor)
    return pair or isinstance(data, Mapping)


def _print(tree: object) -> int:
    """A number that differs where a tensor does, in whatever bit."""
    number = 0
    for leaf in pytree.tree_leaves(tree):
        if isinstance(leaf, Tensor) and leaf.numel():
            number = zlib.crc32(f"{tuple(leaf.shape)} {leaf.dtype}".encode(), number)
            octets = leaf.detach().cpu().reshape(-1).view(torch.uint8).numpy()
            number = zlib.crc32(octets.data, number)
    return number
