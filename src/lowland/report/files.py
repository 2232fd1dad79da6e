"""Files that are whole or absent, and names that are safe in file systems, links and ids."""

import os
import re
import unicodedata
from pathlib import Path

__all__ = ["slug", "write_whole"]


def write_whole(path: Path, content: str | bytes) -> Path:
    """Write a file so that a crash at any moment leaves the old one or the new one; makes its folder.

    Args:
        path: The file's place.
        content: Bytes, or text to store as UTF-8 with plain newlines.

    Returns:
        The path.

    Raises:
        OSError: If the file cannot be written, for example on a full disk. The old file stays.
    """
    half = path.with_name(f".{path.name}.half")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_through(half, content.encode() if isinstance(content, str) else content)
        half.replace(path)
    except OSError as error:
        _forget(half)
        raise OSError(f"{path} could not be written ({error.strerror}). What was there before stays.") from error
    except BaseException:
        _forget(half)
        raise
    return path


def slug(text: str) -> str:
    """Lower-case letters, digits and underscores that remind of ``text``; never empty.

    Example:
        >>> slug("Test error (%) against ρ")
        'test_error_against_rho'
    """
    spelled = text.replace("ρ", "rho").replace("σ", "sigma")
    plain = unicodedata.normalize("NFKD", spelled).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_") or "unnamed"


def _write_through(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _forget(half: Path) -> None:
    try:
        half.unlink(missing_ok=True)
    except OSError:
        return
