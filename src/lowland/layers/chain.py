"""What the factors of one weight are, and their product."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from lowland.layers.compose import compose

__all__ = ["Chain"]


@dataclass(frozen=True, kw_only=True)
class Chain:
    r"""The factors of a weight, :math:`W = (W_d + S_d) \cdots (W_1 + S_1)`, one product for every group.

    Factors are stored as the layer stores its weight: ``(o, i)``, ``(g o, i, *k)``, or ``(g i, o, *k)`` where it
    is transposed. As blocks they are all ``(g, o, i, *k)``.

    Attributes:
        groups: Of a convolution; 3 for the packed projections of attention, else 1.
        widths: Channels per group between the factors, from the input's to the output's; d + 1 of them.
        kernels: Size of every factor's kernel, d of them; empty for matrices.
        skips: Whether S is the identity, a kernel that is one at its centre; else 0. d of them.
        transposed: Whether the layer is a transposed convolution.
    """

    groups: int
    widths: tuple[int, ...]
    kernels: tuple[tuple[int, ...], ...]
    skips: tuple[bool, ...]
    transposed: bool = False

    @property
    def depth(self) -> int:
        """The number d of factors."""
        return len(self.kernels)

    def shape(self, at: int) -> tuple[int, ...]:
        """Of a factor as blocks, ``(g, o, i, *k)``."""
        return (self.groups, self.widths[at + 1], self.widths[at], *self.kernels[at])

    def blocks(self, weight: Tensor) -> Tensor:
        """A weight or factor as blocks, a view."""
        blocks = weight.unflatten(0, (self.groups, -1))
        return blocks.transpose(1, 2) if self.transposed else blocks

    def stored(self, blocks: Tensor) -> Tensor:
        """Blocks as the layer stores them."""
        return (blocks.transpose(1, 2) if self.transposed else blocks).flatten(0, 1)

    def skip(self, at: int, like: Tensor) -> Tensor:
        """The identity that stands beside a factor, as blocks in the dtype and on the device of ``like``."""
        identity = torch.zeros(self.shape(at), dtype=like.dtype, device=like.device)
        centre = tuple(k // 2 for k in self.kernels[at])
        identity[(..., *centre)] = torch.eye(self.widths[at], dtype=like.dtype, device=like.device)
        return identity

    def whole(self, at: int, factor: Tensor) -> Tensor:
        """A factor with its skip, as blocks."""
        blocks = self.blocks(factor)
        return blocks + self.skip(at, blocks) if self.skips[at] else blocks

    def product(self, factors: Sequence[Tensor]) -> Tensor:
        """The weight that the factors make, from the output's side: later factors are smaller."""
        blocks = [self.whole(at, factor) for at, factor in enumerate(factors)]
        return self.stored(reduce(compose, reversed(blocks)))
