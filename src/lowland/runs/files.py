"""Files that are whole or absent: written beside their place, then renamed into it."""

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["clear_halves", "read_json", "write_whole"]

HALF = ".half"
"""Ending of a file that is still being written; never read."""


def write_whole(path: Path, content: str) -> None:
    """Write text so that a reader, or a crash at any moment, sees the old file or the new one.

    Args:
        path: The file's place; its folder must exist.
        content: The text, stored as UTF-8.

    Raises:
        OSError: If the file cannot be written, for example on a full disk. The old file stays.

    Cost:
        One flush to the disk.
    """
    half = path.with_name(f".{path.name}{HALF}")
    try:
        _write_through(half, content)
        half.replace(path)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise OSError(
            f"{path} could not be written ({error.strerror}). What was there before is untouched; "
            "make room or choose another folder, then run the same command again."
        ) from error
    except BaseException:
        half.unlink(missing_ok=True)
        raise


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


def _write_through(path: Path, content: str) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
