"""Handwritten digits that come with scikit-learn: always there, nothing to download."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from lowland.data.image_set import ImageSet
from lowland.data.pixels import Pixels, Raw
from lowland.seeds import generator

__all__ = ["Digits"]

TEST_SHARE = 3


@dataclass(frozen=True, kw_only=True)
class Digits(ImageSet):
    """1,797 digits of 8 x 8 pixels with 17 levels of grey, 10 classes.

    There is no official split. Here a third of every class, drawn by ``seed``, is for testing, and both
    parts are stored in a drawn order: 1,201 training and 596 test images. See :class:`ImageSet` for the fields.

    Example:
        >>> digits = Digits(train=1000).load()
        >>> len(digits.train), len(digits.test), digits.shape, len(digits.classes)
        (1000, 596, (1, 8, 8), 10)

    References:
        E. Alpaydin, C. Kaynak, Optical recognition of handwritten digits, UCI, 1998 (the test part), CC BY 4.0.
    """

    NAME: ClassVar[str] = "digits"
    SHAPE: ClassVar[tuple[int, int, int]] = (1, 8, 8)
    SIZES: ClassVar[tuple[int, int]] = (1201, 596)

    @property
    def classes(self) -> tuple[str, ...]:
        """The digits as text."""
        return tuple("0123456789")

    @classmethod
    def where(cls) -> str:
        """Words: the set needs no folder."""
        return "comes with scikit-learn"

    def read(self) -> Raw:
        """Both parts of the split, always in the same order for a seed."""
        from sklearn.datasets import load_digits  # slow to import, and listing the sets does not need it

        images, labels = load_digits(return_X_y=True)
        y = torch.from_numpy(labels)
        order = torch.randperm(len(y), generator=generator(self.seed, self.NAME, "split"))
        test = _every_third(y[order])
        pixels = Pixels.of(images.reshape(-1, 8, 8).astype(np.uint8), labels)
        return Raw(train=pixels.at(order[~test]), test=pixels.at(order[test]), source="scikit-learn")


def _every_third(y: Tensor) -> Tensor:
    """Whether an example is for testing: of each class every third, in the given order."""
    chosen = torch.zeros(len(y), dtype=torch.bool)
    for label in y.unique():
        chosen[torch.nonzero(y == label).flatten()[TEST_SHARE - 1 :: TEST_SHARE]] = True
    return chosen
