"""The list of a checkpoint's files with their digests; replacing it is what makes a checkpoint valid."""

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lowland.files import clear_halves, write_whole

__all__ = ["commit", "exists", "verified"]

NAME = "manifest.json"
FORMAT = "lowland checkpoint 1"
ENDINGS = {"weights": "safetensors", "state": "pt"}
OURS = re.compile(r"(weights-[0-9a-f]{16}\.safetensors|state-[0-9a-f]{16}\.pt)")


def commit(folder: Path, contents: Mapping[str, bytes], about: Mapping[str, Any]) -> None:
    """Write the files under names of their own, then the manifest, then remove what it no longer names.

    Args:
        folder: Made if missing.
        contents: The bytes of ``"weights"`` and ``"state"``.
        about: Goes into the manifest; plain JSON.

    Raises:
        OSError: If the disk is full or the folder cannot be written; what was there before stays valid.
    """
    files = {kind: _entry(kind, content) for kind, content in contents.items()}
    body = {"format": FORMAT, "files": files, "about": about}
    text = json.dumps({**body, "sha256": _digest(body)}, indent=2)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for kind, content in contents.items():
            write_whole(folder / files[kind]["name"], content)
        write_whole(folder / NAME, text)
    except OSError as error:
        _sweep(folder)
        raise OSError(
            error.errno,
            f"The checkpoint in {folder} could not be written ({error.strerror}); the one before, if there "
            f"was one, is still whole. Make room or choose another folder, and run the same again to go on.",
        ) from error
    _sweep(folder)


def exists(folder: Path) -> bool:
    """Whether there is a checkpoint, sound or damaged."""
    return (folder / NAME).exists()


def verified(folder: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The bytes of a checkpoint's files and what it is about, after comparing every digest.

    Args:
        folder: Where :func:`commit` wrote.

    Returns:
        The contents by kind, and ``about``.

    Raises:
        FileNotFoundError: If there is no manifest.
        ValueError: If the manifest or a file is missing, truncated, changed or not ours.
    """
    body = _manifest(folder)
    return {kind: _whole(folder, entry) for kind, entry in body["files"].items()}, body["about"]


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / NAME
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint in {folder}: it has no {NAME}.")
    try:
        body = json.loads(path.read_bytes())
        found = body.pop("sha256")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged or not a checkpoint's manifest. {_remedy(folder)}") from error
    if body.get("format") != FORMAT or found != _digest(body):
        raise ValueError(
            f"{path} is damaged or of another version: it must be a {FORMAT!r} with its own digest. "
            f"{_remedy(folder)}"
        )
    return body


def _whole(folder: Path, entry: Mapping[str, Any]) -> bytes:
    path = folder / entry["name"]
    if not path.is_file():
        raise ValueError(f"{path} is missing, though {NAME} names it. {_remedy(folder)}")
    content = path.read_bytes()
    if len(content) != entry["bytes"]:
        raise ValueError(
            f"{path} is truncated or grown: it must have {entry['bytes']} bytes, got {len(content)}. "
            f"{_remedy(folder)}"
        )
    found = hashlib.sha256(content).hexdigest()
    if found != entry["sha256"]:
        raise ValueError(
            f"{path} is damaged: its SHA-256 must be {entry['sha256']}, got {found}. {_remedy(folder)}"
        )
    return content


def _entry(kind: str, content: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    return {"name": f"{kind}-{digest[:16]}.{ENDINGS[kind]}", "bytes": len(content), "sha256": digest}


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _remedy(folder: Path) -> str:
    return f"Remove {folder} to start afresh, or restore it from a copy."


def _sweep(folder: Path) -> None:
    """Remove files of ours that no manifest names; on trouble leave them for the next time."""
    with contextlib.suppress(OSError, ValueError):
        clear_halves(folder)
        named = (
            {entry["name"] for entry in _manifest(folder)["files"].values()} if (folder / NAME).exists() else set()
        )
        for path in folder.iterdir():
            if OURS.fullmatch(path.name) and path.name not in named:
                path.unlink()
