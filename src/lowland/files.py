"""Files that are whole or absent: written beside their place, onto the disk, then renamed into it."""

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["clear_halves", "read_json", "write_whole"]

HALF = ".half"
"""Ending of a file that is still being written; never read."""


def write_whole(path: Path, content: str | bytes) -> Path:
    """Write a file so that a reader, or a crash at any moment, sees the old one or the new one.

    Args:
        path: The file's place; its folder is made if missing.
        content: Bytes, or text to store as UTF-8 with plain newlines.

    Returns:
        The path.

    Raises:
        OSError: If the file cannot be written, for example on a full disk. The old file stays.

    Cost:
        Waits for the disk twice: for the file, and for its folder's list of names.
    """
    half = path.with_name(f".{path.name}{HALF}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_through(half, content.encode() if isinstance(content, str) else content)
        half.replace(path)
        _sync(path.parent)
    except OSError as error:
        _forget(half)
        raise OSError(
            f"{path} could not be written ({error.strerror}). What was there before is untouched; make room or "
            "choose another folder, then run the same command again."
        ) from error
    except BaseException:
        _forget(half)
        raise
    return path


def read_json(path: Path) -> Any:  # noqa: ANN401 - the file decides
    """The value in a JSON file.

    Raises:
        ValueError: If the file is cut short or is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} must be whole JSON, got {error}. Remove it and run again.") from error


def clear_halves(folder: Path) -> None:
    """Remove what a killed process was in the middle of writing."""
    for half in folder.rglob(f".*{HALF}"):
        half.unlink(missing_ok=True)


def _write_through(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Bring a folder's list of names onto the disk; nothing to do where folders cannot be opened."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _forget(half: Path) -> None:
    try:
        half.unlink(missing_ok=True)
    except OSError:
        return
