"""Seeded batches that can be resumed at any step, from a split that lies whole on its device."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from lowland.checks import whole
from lowland.data.dataset import Split
from lowland.seeds import generator

__all__ = ["Batches", "InOrder", "in_order"]


class Batches:
    """Shuffled batches, one new order per epoch.

    The order of epoch ``k`` comes from the stream ``("order", k)`` of the seed, and the augmentation of its
    batch ``i`` from ``("augment", k, i)``. Nothing is remembered between calls: any batch of any epoch can be
    had again, bit for bit, without those before it.

    Args:
        split: The examples; batches are made on their device.
        size: Examples per batch, >= 1; the last batch of an epoch may be smaller.
        seed: Of the order and of the augmentation.
        augment: Called as ``augment(x, generator)`` on every batch, such as :class:`lowland.data.augment.Augment`.
        drop_last: Leave out a last batch that is smaller than ``size``.

    Raises:
        TypeError: If ``size`` is not a whole number.
        ValueError: If ``size`` is below 1, or no batch is left.

    Example:
        >>> split = Split(torch.arange(5.0).view(5, 1, 1, 1), torch.arange(5))
        >>> batches = Batches(split, 2, seed=0)
        >>> len(batches), [len(y) for x, y in batches.epoch(0)]
        (3, [2, 2, 1])
        >>> whole, rest = list(batches.epoch(7)), list(batches.epoch(7, start=1))
        >>> all(bool((a[1] == b[1]).all()) for a, b in zip(whole[1:], rest, strict=True))
        True
    """

    def __init__(
        self,
        split: Split,
        size: int,
        *,
        seed: int,
        augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
        drop_last: bool = False,
    ) -> None:
        whole("size", size)
        if drop_last and size > len(split):
            raise ValueError(
                f"size must be at most {len(split)}, the examples there are, got {size}. "
                "With drop_last no batch would be left."
            )
        self.split = split
        self.size = size
        self.seed = seed
        self.augment = augment
        self.drop_last = drop_last

    def __len__(self) -> int:
        """Batches per epoch."""
        n = len(self.split)
        return n // self.size if self.drop_last else -(-n // self.size)

    def epoch(self, k: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches ``start``, ``start + 1``, … of epoch ``k``, as pairs ``x (b, c, h, w)`` and ``y (b,)``.

        Raises:
            TypeError: If ``k`` or ``start`` is not a whole number.
            ValueError: If ``k`` is below 0, or ``start`` not between 0 and the batches there are.
        """
        whole("k", k, 0)
        whole("start", start, 0)
        if start > len(self):
            raise ValueError(f"start must be at most {len(self)}, the batches of an epoch, got {start}.")
        return self._batches(k, start)

    def _batches(self, k: int, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.split), generator=generator(self.seed, "order", k))
        parts = order.to(self.split.y.device, non_blocking=True).split(self.size)
        for i in range(start, len(self)):
            x, y = self.split.x.index_select(0, parts[i]), self.split.y.index_select(0, parts[i])
            yield (x if self.augment is None else self.augment(x, generator(self.seed, "augment", k, i))), y


class InOrder:
    """Every example once, in stored order, as often as it is iterated; for evaluation."""

    def __init__(self, split: Split, size: int) -> None:
        whole("size", size)
        self.split = split
        self.size = size

    def __len__(self) -> int:
        """The number of batches."""
        return -(-len(self.split) // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs ``x (b, c, h, w)`` and ``y (b,)``, views of the split."""
        return zip(self.split.x.split(self.size), self.split.y.split(self.size), strict=True)


def in_order(split: Split, size: int = 512) -> InOrder:
    """Batches of ``size`` in stored order, not shuffled and not augmented, that can be iterated again.

    Raises:
        TypeError: If ``size`` is not a whole number.
        ValueError: If ``size`` is below 1.

    Example:
        >>> split = Split(torch.zeros(5, 1, 8, 8), torch.arange(5))
        >>> [y.tolist() for x, y in in_order(split, 3)]
        [[0, 1, 2], [3, 4]]
    """
    return InOrder(split, size)
