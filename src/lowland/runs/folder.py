"""The folder of one run of a study, and what is in it."""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowland.files import read_json, write_whole
from lowland.runs.cell import Cell, describe, key, to_json

__all__ = ["RunFolder"]


@dataclass(frozen=True)
class RunFolder:
    """A run's folder.

    ``config.json`` and ``environment.json`` say what was asked and where it ran; ``cells/`` holds each
    finished run, ``failures/`` the traceback of each failed one, ``scratch/`` the checkpoints of unfinished
    ones; ``rows.jsonl`` and ``timings.jsonl`` are ``cells/`` in the order of the grid; the report adds
    ``claims.json``, ``tables/``, ``figures/`` and ``index.html``. What cannot be written is an OSError.
    """

    path: Path
    """The folder."""

    def keep(self, cell: Cell, record: str) -> None:
        """Keep a finished run, and forget its failure and its scratch."""
        write_whole(self.path / "cells" / f"{key(cell)}.json", record + "\n")
        self._failure(cell).unlink(missing_ok=True)
        shutil.rmtree(self.path / "scratch" / key(cell), ignore_errors=True)

    def note_failure(self, cell: Cell, text: str) -> Path:
        """Write a failed run's traceback; returns its file."""
        file = self._failure(cell)
        file.parent.mkdir(exist_ok=True)
        write_whole(file, f"{describe(cell)}\n\n{text}\n")
        return file

    def kept(self, cell: Cell) -> Mapping[str, Any] | None:
        """The record of a finished run; None if there is none that is whole and belongs to this cell."""
        try:
            record = read_json(self.path / "cells" / f"{key(cell)}.json")
        except (OSError, ValueError):
            return None
        return record if _is_whole(record, cell) else None

    def assemble(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Write ``rows.jsonl`` and ``timings.jsonl`` from records in the order of the grid."""
        rows = [{**record["cell"], **row} for record in records for row in record["rows"]]
        timings = [{**record["cell"], **record["timings"]} for record in records]
        write_whole(self.path / "rows.jsonl", _lines(rows))
        write_whole(self.path / "timings.jsonl", _lines(timings))

    def tidy(self) -> None:
        """Remove the folders that turned out empty."""
        for name in ("failures", "scratch"):
            with suppress(OSError):
                (self.path / name).rmdir()

    def rows(self) -> list[dict[str, Any]]:
        """The rows, each with its cell's values in front; a ValueError if the file is cut short."""
        return _read_lines(self.path / "rows.jsonl")

    def timings(self) -> list[dict[str, Any]]:
        """The seconds of each run, by name; a ValueError if the file is cut short."""
        return _read_lines(self.path / "timings.jsonl")

    def _failure(self, cell: Cell) -> Path:
        return self.path / "failures" / f"{key(cell)}.txt"


def _is_whole(record: object, cell: Cell) -> bool:
    if not isinstance(record, dict) or not {"cell", "digest", "timings", "rows"} <= record.keys():
        return False
    digest = hashlib.sha256(to_json(record["rows"]).encode()).hexdigest()
    return digest == record["digest"] and to_json(record["cell"]) == to_json(cell)


def _lines(values: Sequence[Mapping[str, Any]]) -> str:
    return "".join(to_json(value) + "\n" for value in values)


def _read_lines(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]
    except ValueError as error:
        raise ValueError(f"{path} must be whole lines of JSON, got {error}. Run the study again.") from error
