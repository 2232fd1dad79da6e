"""The idx files of MNIST and its relatives, plain or packed with gzip or xz."""

import gzip
import lzma
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lowland.data.digest import check_digest, damaged, unpacked
from lowland.data.fetch import Download
from lowland.data.pixels import Pixels, Raw
from lowland.data.places import find, not_found

__all__ = ["IdxFiles", "idx_downloads", "read_idx"]

UNSIGNED_BYTE = 8
OPENERS = {".xz": lzma.open, ".gz": gzip.open, "": open}
ERRORS = (OSError, EOFError, lzma.LZMAError, zlib.error)


@dataclass(frozen=True, kw_only=True)
class IdxFiles:
    """The four official files of a set, and where they may lie.

    Args:
        name: The set's public name.
        folders: Where to look, relative to the folders of :func:`lowland.data.places.roots`, best first.
        digests: SHA-256 of each unpacked file, by its name; training images and labels, test images and labels.
    """

    name: str
    folders: tuple[str, ...]
    digests: Mapping[str, str]

    def where(self) -> Path | None:
        """The folder that holds all four files."""
        return find(self.folders, self.digests, OPENERS)

    def read(self) -> Raw:
        """All images and labels.

        Raises:
            FileNotFoundError: If the files were not found.
            ValueError: If a file is damaged.
        """
        folder = self.where()
        if folder is None:
            raise FileNotFoundError(not_found(self.name, self.folders))
        x, y, test_x, test_y = (read_idx(_packed(folder, f), d) for f, d in self.digests.items())
        return Raw(train=Pixels.of(x, y), test=Pixels.of(test_x, test_y), source="official idx files")


def read_idx(path: Path, sha256: str) -> np.ndarray:
    """The array of unsigned bytes in an idx file: the header says its shape, the rest are its entries.

    Args:
        path: The file; its name ends in ``.gz`` or ``.xz`` where it is packed.
        sha256: Digest of the unpacked file.

    Raises:
        ValueError: If the file is damaged or is no idx file of unsigned bytes.

    References:
        Y. LeCun, C. Cortes, C. Burges, The MNIST database, "File formats".
    """
    content = unpacked(path, _content, ERRORS)
    check_digest(path, content, sha256, "unpacked content")
    if len(content) < 4 or content[2] != UNSIGNED_BYTE:
        raise ValueError(damaged(path, "it is no idx file of unsigned bytes"))
    start = 4 + 4 * content[3]
    shape = np.frombuffer(content[4:start], dtype=">u4")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def idx_downloads(url: str, folder: str, digests: Mapping[str, str]) -> tuple[Download, ...]:
    """The official ``.gz`` files below ``url``; ``digests`` are their MD5s by name."""
    return tuple(Download(url=f"{url}{f}.gz", folder=folder, digest=d) for f, d in digests.items())


def _packed(folder: Path, file: str) -> Path:
    """The file under whichever ending it is there."""
    return next(p for p in (folder / f"{file}{end}" for end in OPENERS) if p.is_file())


def _content(path: Path) -> bytes:
    with OPENERS[path.suffix if path.suffix in OPENERS else ""](path, "rb") as file:
        return file.read()
