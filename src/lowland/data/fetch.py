"""Fetch official files: with progress, resumed where it broke off, and kept only if the digest is right."""

import http
import http.client
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lowland.data.digest import digest
from lowland.data.places import cache

__all__ = ["Download", "Progress", "fetch"]

CHUNK = 1 << 18
TIMEOUT = 30.0
UNSATISFIABLE = 416

Progress = Callable[[str, int, int | None], None]
"""Called as ``progress(file name, bytes so far, bytes in all or None)`` while a file arrives."""


@dataclass(frozen=True, kw_only=True)
class Download:
    """One official file.

    Args:
        url: Where its authors publish it.
        folder: Where it is put, relative to lowland's cache. Of an archive: where it is unpacked.
        digest: Published MD5 or SHA-256 in hexadecimal. Empty where none is published: then the content is
            checked when it is read.
        gives: Of an archive: the file that is there once it is unpacked. Empty for a plain file.
    """

    url: str
    folder: str
    digest: str = ""
    gives: str = ""

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.url.rpartition("/")[2]


def fetch(downloads: Iterable[Download], progress: Progress | None = None) -> list[Path]:
    """Bring official files into lowland's cache; those already there are left alone.

    A file arrives under a name ending in ``.part`` and gets its own name only when it is whole and its digest
    is right, so an interrupted fetch is never mistaken for a file; called again, it goes on where it stopped.

    Args:
        downloads: The files.
        progress: Told how far each file is.

    Returns:
        The files' places, or what an archive gave.

    Raises:
        ConnectionError: If a file cannot be reached; says which and what to do.
        ValueError: If what arrived has the wrong digest; it is deleted.
        OSError: If it cannot be written.
    """
    return [_fetched(download, progress or _silent) for download in downloads]


def _silent(name: str, done: int, total: int | None) -> None:
    del name, done, total


def _fetched(download: Download, progress: Progress) -> Path:
    folder = cache() / download.folder
    whole = folder / (download.gives or download.name)
    if whole.is_file():
        return whole
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{download.name}.part"
    _receive(download, part, progress)
    _refuse_wrong(download, part)
    if download.gives:
        _unpack(part, folder)
    else:
        part.replace(whole)
    return whole


def _receive(download: Download, part: Path, progress: Progress) -> None:
    try:
        _append(download, part, progress)
    except urllib.error.HTTPError as error:
        if error.code != UNSATISFIABLE:  # the server says so when the part is the whole file already
            raise ConnectionError(_unreachable(download, error)) from error
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise ConnectionError(_unreachable(download, error)) from error


def _append(download: Download, part: Path, progress: Progress) -> None:
    """Ask for what is missing, and write it behind what is there.

    Raises:
        ConnectionError: If the answer ends too early.
    """
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(download.url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        resumed = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        done = have if resumed else 0
        length = answer.headers.get("Content-Length")
        total = done + int(length) if length else None
        with part.open("ab" if resumed else "wb") as file:
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                done += len(chunk)
                progress(download.name, done, total)
    if total is not None and done < total:
        raise ConnectionError(f"broke off after {done} of {total} bytes")


def _unreachable(download: Download, error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return (
        f"{download.url} could not be fetched: {reason}. Run the same command again to go on where it stopped, "
        f"or bring the file from a machine with internet to {cache() / download.folder}."
    )


def _refuse_wrong(download: Download, part: Path) -> None:
    if not download.digest:
        return
    found = digest(part.read_bytes(), download.digest)
    if found != download.digest:
        part.unlink()
        raise ValueError(
            f"{download.url} must have digest {download.digest}, got {found}. "
            "What arrived was deleted; fetch it again."
        )


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack to one side, then move what came out into its place, so that half of it is never seen."""
    with tempfile.TemporaryDirectory(dir=folder) as aside:
        with tarfile.open(archive) as tar:
            tar.extractall(aside, filter="data")
        for new in Path(aside).iterdir():
            shutil.rmtree(folder / new.name, ignore_errors=True)
            new.replace(folder / new.name)
    archive.unlink()
