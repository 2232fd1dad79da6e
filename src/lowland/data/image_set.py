"""What every set of images has in common: how much of it, which labels, and how it becomes a data set."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from lowland.checks import at_least, fraction, whole
from lowland.data.dataset import Dataset, Split
from lowland.data.fetch import Download
from lowland.data.noise import noisy
from lowland.data.pixels import Pixels, Raw, moments, standardised
from lowland.data.tail import tail
from lowland.seeds import generator

__all__ = ["ImageSet"]


@dataclass(frozen=True, kw_only=True)
class ImageSet(ABC):
    """A set of images that :meth:`load` turns into standardised tensors.

    In this order: the first ``train`` and ``test`` images in the official order are read; the training
    part is thinned to a long tail; its labels are made noisy; all images are standardised by the mean and
    standard deviation, per channel, of the training images that are left. The test part stays clean.

    Args:
        train: Training images, >= 1. None takes all.
        test: Test images, >= 1. None takes all.
        seed: Of the label noise, and of the split where a set has none of its own (digits).
        label_noise: Share of the training labels replaced by a wrong class, in ``[0, 1]``.
        long_tail: Imbalance of the training part, largest over smallest class, >= 1. 1 leaves it as it is.

    Raises:
        TypeError: If a number is not one, or is not whole where it must be.
        ValueError: If a number is out of its range, or more images are asked for than the set has.
    """

    NAME: ClassVar[str]
    SHAPE: ClassVar[tuple[int, int, int]]
    SIZES: ClassVar[tuple[int, int]]
    DOWNLOADS: ClassVar[tuple[Download, ...]] = ()

    train: int | None = None
    test: int | None = None
    seed: int = 0
    label_noise: float = 0.0
    long_tail: float = 1.0

    def __post_init__(self) -> None:
        for name, count, most in zip(("train", "test"), (self.train, self.test), self.SIZES, strict=True):
            _check_count(f"{self.NAME}: {name}", count, most)
        fraction("label_noise", self.label_noise)
        at_least("long_tail", self.long_tail, 1.0)

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """The classes' names, in the order of the labels."""

    @classmethod
    @abstractmethod
    def where(cls) -> Path | str | None:
        """The folder that holds the set, or words where it needs none; None if it was not found."""

    @classmethod
    def held(cls) -> int:
        """How many training images, from the first on, are on this machine."""
        return cls.SIZES[0] if cls.where() else 0

    @abstractmethod
    def read(self) -> Raw:
        """The stored images, checked against their digests; at least as many as asked for, in official order."""

    def load(self) -> Dataset:
        """Read, check and prepare the set.

        Raises:
            FileNotFoundError: If the set's files were not found; says where they were looked for.
            ValueError: If a file is damaged, holds fewer images than asked for, or a class is left without images.
        """
        raw = self.read()
        train = raw.train.at(slice(self.train))
        train = train.at(tail(train.y, self.long_tail, len(self.classes)))
        test = raw.test.at(slice(self.test))
        for part, pixels in (("training", train), ("test", test)):
            _refuse_missing_class(self.NAME, part, pixels, self.classes)
        return self._dataset(train, test, raw.source)

    def _dataset(self, train: Pixels, test: Pixels, source: str) -> Dataset:
        mean, sd = moments(train.x)
        random = generator(self.seed, self.NAME, "label_noise")
        y = noisy(train.y, self.label_noise, len(self.classes), random)
        return Dataset(
            name=self.NAME,
            train=Split(standardised(train.x, mean, sd), y),
            test=Split(standardised(test.x, mean, sd), test.y),
            classes=self.classes,
            source=source + self._changes(),
            mean=tuple(mean.tolist()),
            sd=tuple(sd.tolist()),
        )

    def _changes(self) -> str:
        tail = f"; long tail {self.long_tail:g}" if self.long_tail > 1 else ""
        noise = f"; {100 * self.label_noise:g} % wrong labels, seed {self.seed}" if self.label_noise else ""
        return tail + noise


def _check_count(name: str, count: int | None, most: int) -> None:
    if count is None:
        return
    whole(name, count)
    if count > most:
        raise ValueError(f"{name} must be at most {most}, the images there are, got {count}.")


def _refuse_missing_class(name: str, part: str, pixels: Pixels, classes: tuple[str, ...]) -> None:
    counts = torch.bincount(pixels.y, minlength=len(classes))
    missing = [classes[c] for c in torch.nonzero(counts == 0).flatten().tolist()]
    if not missing:
        return
    shown = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
    raise ValueError(
        f"{name}: every class must occur in the {part} data, but among its {len(pixels)} images "
        f"{len(missing)} of {len(classes)} classes are missing ({shown}). Ask for more images."
    )
