"""Small arrays of labels, checked against the digest of their content whatever file they lie in."""

import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from lowland.data.digest import check_digest, damaged, unpacked
from lowland.data.pickles import read_object

__all__ = ["read_array"]

ERRORS = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)


def read_array(path: Path, names: tuple[str, ...], sha256: str) -> np.ndarray:
    """One array of a file, as uint8.

    Args:
        path: An ``.npz`` file, an ``.npy`` file, or a ``.pt`` or ``.npy`` file of a dictionary of arrays.
        names: What the array may be called in the file; the first that is there is read. Ignored where the
            file is one array.
        sha256: Digest of the array's content as uint8.

    Raises:
        ValueError: If the file is damaged or has no such array.
    """
    found = unpacked(path, _content, ERRORS)
    if isinstance(found, dict):
        found = next((found[n] for n in names if n in found), None)
    if found is None:
        raise ValueError(damaged(path, f"it has no array called {' or '.join(names)}"))
    array = np.ascontiguousarray(found, dtype=np.uint8)
    check_digest(path, array.data, sha256, f"array {names[0]}")
    return array


def _content(path: Path) -> Any:  # noqa: ANN401 - what is in the file is found out here
    if path.suffix == ".npz":
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    if path.suffix == ".npy" and not _is_object(path):
        return np.load(path, allow_pickle=False)
    return read_object(path)


def _is_object(path: Path) -> bool:
    return b"'|O'" in path.read_bytes()[:128]
