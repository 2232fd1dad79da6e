"""What studies of the support show image classifiers: images in a border of noise that says nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lowland.checks import at_least, fraction, whole
from lowland.data.border import bordered, inside
from lowland.data.dataset import Split
from lowland.data.noise import noisy
from lowland.experiments.side_by_side import batches
from lowland.experiments.training import load_images
from lowland.seeds import generator

__all__ = ["BorderedImages"]


@dataclass(frozen=True, kw_only=True)
class BorderedImages:
    """Images of one channel, centred, in units of the range of a pixel, in a border of Gaussian noise.

    Attributes:
        data: A data set, with its arguments.
        train: The most training images to take.
        border: Pixels of noise on each side.
        noise: Standard deviation of that noise, > 0.
        wrong: Share of the training labels that are wrong, in [0, 1).
        kept: Whether every training image keeps one border; else it has a new one whenever it is shown.
    """

    data: str
    train: int
    border: int
    noise: float
    wrong: float = 0.0
    kept: bool = False

    def __post_init__(self) -> None:
        whole("train", self.train)
        whole("border", self.border)
        fraction("wrong", self.wrong, one=False)
        at_least("noise", self.noise, 0)
        if not self.noise:
            raise ValueError("noise must be above 0, got 0.")

    def check(self) -> None:
        """Refuse data that does not fit.

        Raises:
            FileNotFoundError: If it is not on this machine.
            ValueError: If the images have colours.
        """
        channels = load_images(self.data, self.train).shape[0]
        if channels != 1:
            raise ValueError(f"data must have one channel, got {channels} in {self.data!r}. Take digits or mnist.")

    def splits(self, device: str) -> tuple[Split, Split, int]:
        """Training and test images without borders, (n, h, w), and how many classes there are."""
        data = load_images(self.data, self.train)
        span = data.train.x.max() - data.train.x.min()
        y = noisy(data.train.y, self.wrong, len(data.classes), generator(0, "wrong"))
        train, test = Split(data.train.x[:, 0] / span, y), Split(data.test.x[:, 0] / span, data.test.y)
        return train.to(device), test.to(device), len(data.classes)

    def framed(self, x: Tensor, stream: torch.Generator) -> Tensor:
        """Images (..., h, w) in borders, flat, (..., d)."""
        return bordered(x, self.border, self.noise, stream).flatten(-2)

    def mask(self) -> Tensor:
        """Which pixels are not of the border, as a picture."""
        _, h, w = load_images(self.data, self.train).shape
        return inside(h, w, self.border)

    def shown(self, batch: int, train: Split, seeds: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """Random batches for replicas, for ever: bordered images (r, b, d) and their labels (r, b).

        Args:
            batch: Images a step, b.
            train: Training images without borders, as :meth:`splits` gives them.
            seeds: One per replica, of order and borders.
        """
        streams = [generator(seed, "border") for seed in seeds]
        fixed = self.framed(train.x, generator(0, "train"))
        for some in batches(len(train), batch, seeds):
            at = some.to(train.y.device)
            if self.kept:
                yield fixed[at], train.y[at]
                continue
            pairs = zip(train.x[at], streams, strict=True)
            yield torch.stack([self.framed(x, stream) for x, stream in pairs]), train.y[at]
