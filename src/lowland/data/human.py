"""Labels that people gave to CIFAR images."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lowland.data.arrays import read_array
from lowland.data.places import find, not_found

__all__ = ["HumanLabels"]


@dataclass(frozen=True, kw_only=True)
class HumanLabels:
    """Where labels by people lie, and what they must be.

    Args:
        name: The set they belong to.
        files: Files that may hold them, relative to the folders of :func:`lowland.data.places.roots`, best first.
        arrays: What each kind of label may be called in a file.
        digests: SHA-256 of each kind of label, as uint8.
    """

    name: str
    files: tuple[str, ...]
    arrays: Mapping[str, tuple[str, ...]]
    digests: Mapping[str, str]

    def read(self, kind: str) -> np.ndarray:
        """One kind of label, uint8, one row per image in official order.

        Raises:
            FileNotFoundError: If no file was found.
            ValueError: If the file is damaged.
        """
        path = self.where()
        if path is None:
            raise FileNotFoundError(not_found(self.name, self.files, "human labels"))
        return read_array(path, self.arrays[kind], self.digests[kind])

    def where(self) -> Path | None:
        """The first file that is there."""
        paths = (find([str(Path(file).parent)], [Path(file).name]) for file in self.files)
        return next(
            (folder / Path(file).name for folder, file in zip(paths, self.files, strict=True) if folder), None
        )
