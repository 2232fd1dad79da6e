"""What a data set is once it is ready for training: standardised images, whole labels, on one device."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from lowland.checks import whole

__all__ = ["Dataset", "Split"]


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels, in a fixed order.

    Args:
        x: Images, float32, of shape ``(n, c, h, w)``.
        y: Class of each image, int64, of shape ``(n,)``.

    Raises:
        ValueError: If ``x`` and ``y`` do not hold the same number of examples, or hold none.

    Example:
        >>> split = Split(torch.zeros(6, 1, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2]))
        >>> len(split), len(split.take(4))
        (6, 4)
    """

    x: Tensor
    y: Tensor

    def __post_init__(self) -> None:
        if self.y.ndim != 1 or len(self.x) != len(self.y) or not len(self.y):
            raise ValueError(
                "x and y must hold the same number of examples, at least one, "
                f"got shapes {tuple(self.x.shape)} and {tuple(self.y.shape)}."
            )

    def __len__(self) -> int:
        """The number of examples."""
        return len(self.y)

    def take(self, n: int) -> Self:
        """The first ``n`` examples in stored order, as views: a smaller take lies inside a larger one.

        Every set here is stored in an order that mixes the classes, so the first ``n`` are a fair sample.

        Raises:
            ValueError: If ``n`` is below one, or larger than the split.
            TypeError: If ``n`` is not a whole number.
        """
        whole("n", n)
        if n > len(self):
            raise ValueError(f"n must be at most {len(self)}, the examples there are, got {n}.")
        return replace(self, x=self.x[:n], y=self.y[:n])

    def to(self, device: torch.device | str) -> Self:
        """The same examples on ``device``."""
        return replace(self, x=self.x.to(device), y=self.y.to(device))


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """A training and a test split of the same kind of image.

    Images are standardised: ``(pixel - mean) / sd`` with the mean and standard deviation of the training
    images in this data set, per channel; the test images with those same numbers.

    Args:
        name: The set's public name.
        train: What to train on.
        test: What to test on.
        classes: The classes' names; label ``i`` means ``classes[i]``.
        source: Where the images come from and what was done to the labels, in words; no path of this machine.
        mean: Per channel, in the stored units (0 to 255; 0 to 16 for digits).
        sd: As ``mean``.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    source: str
    mean: tuple[float, ...] = ()
    sd: tuple[float, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape ``(c, h, w)`` of one image."""
        c, h, w = self.train.x.shape[1:]
        return c, h, w

    def to(self, device: torch.device | str) -> Self:
        """The same data on ``device``."""
        return replace(self, train=self.train.to(device), test=self.test.to(device))
