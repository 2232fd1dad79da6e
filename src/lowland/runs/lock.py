"""One process writes a folder at a time."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["lock"]


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a folder while the block runs.

    The operating system holds the lock, so a process that dies, however it dies, lets go of it: there is
    nothing stale to clean up, and the file that stays behind does not matter.

    Args:
        folder: A folder that exists.

    Raises:
        RuntimeError: If another process holds it; says which.
    """
    holder = folder / ".holder"
    held = FileLock(folder / ".lock")
    try:
        held.acquire(blocking=False)
    except Timeout:
        raise RuntimeError(
            f"{folder} is being written by {_read(holder)}. Wait for it, or stop it and run again."
        ) from None
    try:
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        held.release()


def _read(holder: Path) -> str:
    try:
        return holder.read_text(encoding="utf-8") or "another process"
    except OSError:
        return "another process"
