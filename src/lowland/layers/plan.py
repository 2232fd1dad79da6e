"""How deep and wide a weight is to be expanded."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn.modules.conv import _ConvNd

from lowland.checks import whole
from lowland.layers.chain import Chain
from lowland.layers.targets import Target

__all__ = ["Plan"]

PACKED = "in_proj_weight"
"""Queries, keys and values of attention below each other: three matrices."""

TIMES = 32
"""A factor may have this many times the entries of its weight, …"""

ENTRIES = 2**27
"""… or so many, half a GiB in float32, if that is more."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is asked for of every weight.

    Attributes:
        depth: The number of factors, >= 1.
        width: Hidden channels per channel of the output, > 0; at least one per group is left.
        kernel_sizes: Of the factors of convolutions, one number or one for each dimension; None: the layer's own
            in the first factor, then 1.
        residual: Whether to skip factors that map a space to itself.

    Raises:
        TypeError: If a number is not one, or the sizes are not several.
        ValueError: If a number is out of its range, or the sizes are not as many as the factors.
    """

    depth: int
    width: float
    kernel_sizes: Sequence[int | Sequence[int]] | None
    residual: bool

    def __post_init__(self) -> None:
        whole("depth", self.depth)
        if isinstance(self.width, bool) or not isinstance(self.width, int | float):
            raise TypeError(f"width must be a number, got {self.width!r}.")
        if not 0 < self.width < float("inf"):
            raise ValueError(f"width must be a finite number above 0, got {self.width}.")
        if self.kernel_sizes is not None and not isinstance(self.kernel_sizes, Sequence):
            raise TypeError(f"kernel_sizes must be a list with a size for each factor, got {self.kernel_sizes!r}.")
        if self.kernel_sizes is not None and len(self.kernel_sizes) != self.depth:
            raise ValueError(
                f"kernel_sizes must be one for each of the {self.depth} factors, got {list(self.kernel_sizes)}."
            )

    def chain(self, target: Target) -> Chain:
        """The factors of one weight.

        Raises:
            TypeError: If a kernel size is no whole number.
            ValueError: If the kernel sizes do not make the layer's kernel, there is nothing to skip, or a factor
                would be vast.
        """
        layer, weight = target.layer, target.layer.get_parameter(target.attribute)
        transposed = isinstance(layer, _ConvNd) and layer.transposed
        groups = layer.groups if isinstance(layer, _ConvNd) else 3 if target.attribute == PACKED else 1
        o, i, *kernel = _blocks(weight, groups, transposed)
        kernels = self._kernels(target.name, tuple(kernel))
        widths = (i, *[max(1, int(o * self.width))] * (self.depth - 1), o)
        skips = tuple(
            self.residual and widths[at] == widths[at + 1] and all(k % 2 for k in kernels[at])
            for at in range(self.depth)
        )
        if self.residual and not any(skips):
            raise ValueError(
                f"residual must find a factor that maps a space to itself, with an odd kernel, in layer "
                f"{target.name!r}, got widths {widths}: give width=1 or exclude the layer."
            )
        chain = Chain(groups=groups, widths=widths, kernels=kernels, skips=skips, transposed=transposed)
        self._refuse_vast(target.name, chain, weight.numel())
        return chain

    def _refuse_vast(self, name: str, chain: Chain, entries: int) -> None:
        shape = max((chain.shape(at) for at in range(chain.depth)), key=math.prod)
        if math.prod(shape) > max(ENTRIES, TIMES * entries):
            raise ValueError(
                f"width must leave factors of a size near the weight's, got {self.width}, which makes one of "
                f"{math.prod(shape):.2g} entries for the {entries:.2g} of layer {name!r}: there are width hidden "
                "channels for each of the output's, so give less width, or exclude the layer."
            )

    def _kernels(self, name: str, kernel: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        if self.kernel_sizes is None or not kernel:
            return (kernel, *[(1,) * len(kernel)] * (self.depth - 1))
        kernels = tuple(_size(size, len(kernel)) for size in self.kernel_sizes)
        made = tuple(sum(sizes) - self.depth + 1 for sizes in zip(*kernels, strict=True))
        if made != kernel:
            raise ValueError(
                f"kernel_sizes must make the kernel {kernel} of layer {name!r}, got {list(self.kernel_sizes)}, "
                f"which make {made}, the sum less depth - 1: choose others, or exclude the layer."
            )
        return kernels


def _size(size: int | Sequence[int], dimensions: int) -> tuple[int, ...]:
    found = tuple(size) if isinstance(size, Sequence) else (size,) * dimensions
    for each in found:
        whole("kernel_sizes", each)
    if len(found) != dimensions:
        raise ValueError(f"kernel_sizes must have {dimensions} numbers for each factor, got {list(found)}.")
    return found


def _blocks(weight: Tensor, groups: int, transposed: bool) -> tuple[int, ...]:
    """Channels of the output and of the input per group, and the kernel."""
    first, second, *kernel = weight.shape
    return (second, first // groups, *kernel) if transposed else (first // groups, second, *kernel)
