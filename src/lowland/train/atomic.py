"""Writes a file so that it is seen whole, or as it was before, whatever happens in between."""

import os
from pathlib import Path

__all__ = ["sync", "write"]


def write(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path``: into a file beside it, onto the disk, then renamed over it.

    A killed process leaves the old file and perhaps a hidden ``.part`` beside it; an error leaves the old
    file only. The file's folder must exist.

    Args:
        path: Where the content goes.
        content: All of it.

    Raises:
        OSError: If the disk is full or the folder cannot be written.

    Cost:
        Waits for the disk twice (fsync of the file and of its folder), a few milliseconds each.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(folder: Path) -> None:
    """Bring a folder's list of names onto the disk; nothing to do where folders cannot be opened."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
