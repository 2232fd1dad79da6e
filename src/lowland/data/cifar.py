"""The files of CIFAR-10 and CIFAR-100: packed sheets, or the official pickles."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from lowland.data.arrays import read_array
from lowland.data.digest import damaged
from lowland.data.pickles import read_pickle
from lowland.data.pixels import Pixels, Raw
from lowland.data.places import find, not_found
from lowland.data.sheets import read_sheet

__all__ = ["CifarFiles", "Pickles", "Sheets"]

SIDE = 32
TRAIN_IMAGES = 50_000
SHEET_IMAGES = 10_000


@dataclass(frozen=True, kw_only=True)
class Sheets:
    """The packed layout: 10,000 images a sheet, labels beside them.

    Args:
        folder: Its name, relative to the folders of :func:`lowland.data.places.roots`.
        train: SHA-256 of the decoded images of each training sheet by file name, in order.
        test: As ``train``, one file.
        labels: The file with the labels.
        digests: SHA-256 of each array of labels, by its name.
    """

    folder: str
    train: Mapping[str, str]
    test: Mapping[str, str]
    labels: str
    digests: Mapping[str, str]

    def where(self, count: int) -> Path | None:
        """The folder, if it holds the first ``count`` training images."""
        needed = -(-count // SHEET_IMAGES)
        if needed > len(self.train):
            return None
        return find([self.folder], [*islice(self.train, needed), *self.test, self.labels])

    def read(self, folder: Path, count: int, label: str) -> Raw:
        """At least ``count`` training images, and the test images, with the labels ``train`` + ``label``."""
        needed = dict(islice(self.train.items(), -(-count // SHEET_IMAGES)))
        train, test = self._images(folder, needed), self._images(folder, self.test)
        y, test_y = (self._labels(folder, part + label) for part in ("train", "test"))
        return Raw(train=Pixels.of(train, y[: len(train)]), test=Pixels.of(test, test_y), source="packed sheets")

    def _images(self, folder: Path, files: Mapping[str, str]) -> np.ndarray:
        return np.concatenate([read_sheet(folder / file, SIDE, sha) for file, sha in files.items()])

    def _labels(self, folder: Path, name: str) -> np.ndarray:
        return read_array(folder / self.labels, (name,), self.digests[name])


@dataclass(frozen=True, kw_only=True)
class Pickles:
    """The official layout ("python version").

    Args:
        folder: Its name, relative to the folders of :func:`lowland.data.places.roots`.
        train: Published MD5 of each training file by name, in order; all hold equally many images.
        test: As ``train``, one file.
    """

    folder: str
    train: Mapping[str, str]
    test: Mapping[str, str]

    def where(self, count: int) -> Path | None:
        """The folder, if it holds the first ``count`` training images."""
        return find([self.folder], [*self._needed(count), *self.test])

    def read(self, folder: Path, count: int, label: str) -> Raw:
        """At least ``count`` training images, and the test images, with the labels called ``label``."""
        train = self._pixels(folder, self._needed(count), label)
        return Raw(train=train, test=self._pixels(folder, self.test, label), source="official pickles")

    def _needed(self, count: int) -> dict[str, str]:
        files = -(-count * len(self.train) // TRAIN_IMAGES)
        return dict(islice(self.train.items(), files))

    def _pixels(self, folder: Path, files: Mapping[str, str], label: str) -> Pixels:
        parts = [_pickled(folder / file, md5, label) for file, md5 in files.items()]
        return Pixels.of(np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts]))


@dataclass(frozen=True, kw_only=True)
class CifarFiles:
    """Either layout of one set.

    Args:
        name: The set's public name.
        sheets: The packed layout.
        pickles: The official layout.
    """

    name: str
    sheets: Sheets
    pickles: Pickles

    def where(self, count: int = 1) -> Path | None:
        """The folder that holds the first ``count`` training images and the test images, in either layout."""
        return self.sheets.where(count) or self.pickles.where(count)

    def read(self, count: int | None, sheet_label: str, pickle_label: str) -> Raw:
        """The first ``count`` training images or some more, and all test images.

        Args:
            count: How many must be there. None means all 50,000.
            sheet_label: What the labels are called in the packed layout, after ``train`` and ``test``.
            pickle_label: What they are called in the official pickles.

        Raises:
            FileNotFoundError: If no folder holds so many; says how many there are.
            ValueError: If a file is damaged.
        """
        count = TRAIN_IMAGES if count is None else count
        if folder := self.sheets.where(count):
            return self.sheets.read(folder, count, sheet_label)
        if folder := self.pickles.where(count):
            return self.pickles.read(folder, count, pickle_label)
        raise FileNotFoundError(self._missing(count))

    def held(self) -> int:
        """How many training images, from the first on, are on this machine."""
        counts = range(TRAIN_IMAGES, 0, -SHEET_IMAGES)
        return next((count for count in counts if self.where(count)), 0)

    def _missing(self, count: int) -> str:
        if not (held := self.held()):
            return not_found(self.name, (self.sheets.folder, self.pickles.folder))
        return (
            f"{self.name}: train must be at most {held} with the files in {self.where(held)}, got {count}. "
            f"Write {self.name}:train={held}, or run `lowland data fetch {self.name}` to have all."
        )


def _pickled(path: Path, md5: str, label: str) -> tuple[np.ndarray, np.ndarray]:
    """Images ``(n, h, w, c)`` and labels ``(n,)`` of one official file.

    Raises:
        ValueError: If the file is damaged.
    """
    content = read_pickle(path, md5)
    try:
        x, y = np.asarray(content[b"data"], np.uint8), np.asarray(content[label.encode()], np.uint8)
        return x.reshape(len(y), 3, SIDE, SIDE).transpose(0, 2, 3, 1), y
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(damaged(path, f"it does not hold images with {label} ({error})")) from error
