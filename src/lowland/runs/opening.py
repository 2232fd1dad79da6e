"""Opening a run's folder: where it is, that it is ours, and that nobody else writes it."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lowland.files import clear_halves, read_json, write_whole
from lowland.runs.cell import Cell, to_json
from lowland.runs.folder import RunFolder
from lowland.runs.lock import lock

__all__ = ["open_folder", "place"]


def place(out: Path, study: str, config: object, cells: Sequence[Cell]) -> Path:
    """Where a study with these settings is kept: ``<out>/<study>/<readable>-<digest>``.

    The same settings and grid always lead to the same folder, so the same command goes on where it stopped.
    """
    identity = _identity(study, config, cells)
    words = [str(getattr(config, name)) for name in ("data", "model") if hasattr(config, name)]
    slug = re.sub(r"[^a-z0-9.]+", "-", "-".join(words).lower()).strip("-")[:40]
    digest = hashlib.sha256(to_json(identity).encode()).hexdigest()[:8]
    return out / study / f"{slug}-{digest}".lstrip("-")


@contextmanager
def open_folder(path: Path, study: str, config: object, cells: Sequence[Cell]) -> Iterator[RunFolder]:
    """Hold a run's folder for this process, made if need be.

    Refused: a folder with a run of other settings (ValueError), one that another process is writing
    (RuntimeError), one that cannot be written (OSError).

    Args:
        path: The folder, usually :func:`place`.
        study: The study's name.
        config: Its settings, a dataclass.
        cells: Its grid.
    """
    _make(path)
    with lock(path):
        clear_halves(path)
        _claim(path, _identity(study, config, cells))
        yield RunFolder(path)


def _make(path: Path) -> None:
    try:
        (path / "cells").mkdir(parents=True, exist_ok=True)
        (path / ".lock").touch()
    except OSError as error:
        raise OSError(
            f"out must be a folder that can be written, got {path} ({error.strerror}). Choose another."
        ) from error


def _identity(study: str, config: object, cells: Sequence[Cell]) -> dict[str, object]:
    settings = dataclasses.asdict(config) if dataclasses.is_dataclass(config) else vars(config)  # type: ignore[arg-type]
    grid = hashlib.sha256(to_json(list(cells)).encode()).hexdigest()[:16]
    identity = {"study": study, "settings": settings, "cells": len(cells), "grid": grid}
    files = _own_files(settings)
    return {**identity, "own_files": files} if files else identity


def _own_files(settings: object) -> dict[str, str]:
    """Digests of the user's own Python files that settings refer to: another content is another run."""
    values = (
        settings.values() if isinstance(settings, dict) else settings if isinstance(settings, list | tuple) else ()
    )
    found = {name: digest for value in values for name, digest in _own_files(value).items()}
    if isinstance(settings, str) and ".py" in settings:
        for word in re.findall(r"[^=:,()\s]+\.py", settings):
            path = Path(word)
            if path.is_file():
                found[word] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return found


def _claim(path: Path, identity: dict[str, object]) -> None:
    file = path / "config.json"
    if not file.exists():
        write_whole(file, json.dumps(identity, indent=2, ensure_ascii=False) + "\n")
        return
    found = read_json(file)
    if to_json(found) != to_json(identity):
        raise ValueError(
            f"{path} must hold a run with the settings asked for, got another one: "
            f"{_difference(found, identity)}. Choose another folder, or move this one away."
        )


def _difference(found: object, asked: dict[str, object]) -> str:
    there, here = (_flat(value) for value in (found, json.loads(to_json(asked))))
    names = sorted(name for name in {*there, *here} if there.get(name) != here.get(name))
    return "; ".join(f"{name} is {there.get(name)} there, {here.get(name)} here" for name in names[:3])


def _flat(value: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(value, dict):
        return {prefix or "it": value}
    parts = [_flat(inner, f"{prefix}.{name}".lstrip(".")) for name, inner in value.items()]
    return {name: inner for part in parts for name, inner in part.items()}
