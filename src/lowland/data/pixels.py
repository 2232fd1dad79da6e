"""Images as they are stored, before anything is done to them."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

__all__ = ["Pixels", "Raw", "moments", "standardised"]

LEVELS = 256


@dataclass(frozen=True, eq=False)
class Pixels:
    """Stored images and labels.

    Args:
        x: Images, uint8, of shape ``(n, h, w, c)``.
        y: Labels, of shape ``(n,)``.
    """

    x: Tensor
    y: Tensor

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray) -> Self:
        """From arrays ``(n, h, w)`` or ``(n, h, w, c)`` and ``(n,)``, which may be read-only."""
        shaped = x if x.ndim == 4 else x[..., None]
        return cls(torch.from_numpy(shaped.copy()), torch.from_numpy(y.astype(np.int64)))

    def __len__(self) -> int:
        """The number of images."""
        return len(self.y)

    def at(self, index: Tensor | slice) -> Self:
        """The images and labels at ``index``, in that order."""
        return replace(self, x=self.x[index], y=self.y[index])

    def labelled(self, y: np.ndarray) -> Self:
        """The same images with the first of other labels ``y``, of which there may be more."""
        return replace(self, y=torch.from_numpy(y[: len(self)].astype(np.int64)))


@dataclass(frozen=True, eq=False)
class Raw:
    """Both stored parts of a set, and where they come from in words."""

    train: Pixels
    test: Pixels
    source: str


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, exact: from counts of the 256 levels.

    Args:
        x: Images, uint8, of shape ``(n, h, w, c)``.

    Returns:
        Two float64 tensors of shape ``(c,)``, in units of a level. A constant channel has deviation 1.

    Example:
        >>> moments(torch.tensor([0, 2], dtype=torch.uint8).view(1, 2, 1, 1))
        (tensor([1.], dtype=torch.float64), tensor([1.], dtype=torch.float64))
    """
    channels = x.flatten(0, -2).T  # (c, n h w)
    counts = torch.stack([torch.bincount(row, minlength=LEVELS) for row in channels]).double()
    share = counts / counts.sum(1, keepdim=True)
    levels = torch.arange(LEVELS, dtype=torch.float64)
    mean = share @ levels
    variance = (share * (levels - mean[:, None]) ** 2).sum(1)
    return mean, torch.where(variance > 0, variance, 1).sqrt()


def standardised(x: Tensor, mean: Tensor, sd: Tensor) -> Tensor:
    """``(x - mean) / sd`` in float32, channels first: from ``(n, h, w, c)`` to ``(n, c, h, w)``, contiguous."""
    z = x.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    return z.sub_(mean.float().view(-1, 1, 1)).div_(sd.float().view(-1, 1, 1))
