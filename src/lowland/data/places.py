"""Where files of data sets are looked for: the folder LOWLAND_DATA names, then lowland's own cache."""

import os
from collections.abc import Iterable
from pathlib import Path

__all__ = ["cache", "find", "not_found", "roots"]


def cache() -> Path:
    """The folder that fetched files go to: ``lowland`` in ``$XDG_CACHE_HOME``, or else in ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lowland"


def roots() -> list[Path]:
    """The folders to look in, best first.

    Raises:
        FileNotFoundError: If LOWLAND_DATA names no folder.
    """
    named = os.environ.get("LOWLAND_DATA")
    if named and not Path(named).is_dir():
        raise FileNotFoundError(f"LOWLAND_DATA must name a folder, got {named!r}. Correct it, or unset it.")
    return [Path(named), cache()] if named else [cache()]


def find(folders: Iterable[str], files: Iterable[str], endings: Iterable[str] = ("",)) -> Path | None:
    """The first folder that holds all ``files``, each with any of ``endings``; None if there is none.

    Args:
        folders: Relative to each of :func:`roots`, best first.
        files: Names of files that must all be there.
        endings: What a file's name may end in, such as ``""`` and ``".gz"``.

    Raises:
        FileNotFoundError: If LOWLAND_DATA names no folder.
    """
    folders, files, endings = list(folders), list(files), list(endings)
    for place in (root / folder for root in roots() for folder in folders):
        if all(any((place / f"{file}{end}").is_file() for end in endings) for file in files):
            return place
    return None


def not_found(name: str, places: Iterable[str], what: str = "files") -> str:
    """The sentence for a set without files: where ``what`` was looked for, and what can be done."""
    tried = ", ".join(str(root / place) for root in roots() for place in places)
    return (
        f"{name} must be on this machine, but its {what} were not found in {tried}. "
        f"Run `lowland data fetch {name}`, or set LOWLAND_DATA to a folder that holds its official files. "
        "The set `digits` needs no files."
    )
