"""Read the official pickles of CIFAR without running what else a pickle could hold."""

import codecs
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from lowland.data.digest import check_digest, unpacked

__all__ = ["read_object", "read_pickle"]

RECONSTRUCT = np.zeros(0).__reduce__()[0]
ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): RECONSTRUCT,
    ("_codecs", "encode"): codecs.encode,
}
ERRORS = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    AttributeError,
    EOFError,
    LookupError,
    StopIteration,
    TypeError,
    ValueError,
)


class _Plain(pickle.Unpickler):
    """Builds containers, numbers, text and numpy arrays; refuses every other name a pickle asks for."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as the base class has it
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a data file")
        return ALLOWED[module, name]


def read_pickle(path: Path, md5: str) -> dict[bytes, Any]:
    """The dictionary in one official file, its keys as bytes.

    Args:
        path: The file.
        md5: The published digest of the file, checked before anything is read out of it. Empty checks nothing.

    Raises:
        ValueError: If the file is damaged, or asks for anything but containers and numpy arrays.

    References:
        A. Krizhevsky, Learning multiple layers of features from tiny images, 2009; "Dataset layout" of its page.
    """
    if md5:
        check_digest(path, path.read_bytes(), md5)
    return unpacked(path, _load, ERRORS)


def read_object(path: Path) -> dict[str, Any]:
    """The dictionary of arrays in a file that ``numpy.save`` (``.npy``) or ``torch.save`` (``.pt``) wrote.

    Raises:
        ValueError: If the file is damaged, or asks for anything but containers and numpy arrays.
    """
    return unpacked(path, _load_pt if path.suffix == ".pt" else _load_npy, ERRORS)


def _load(path: Path) -> dict[bytes, Any]:
    with path.open("rb") as file:
        return _Plain(file, encoding="bytes").load()


def _load_npy(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        first = np.lib.format.read_magic(file) == (1, 0)
        (np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0)(file)
        return _Plain(file).load().item()


def _load_pt(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as parts:
        name = next(n for n in parts.namelist() if n.endswith("/data.pkl"))
        with parts.open(name) as file:
            return _Plain(file).load()
