"""The index of past runs: a SQLite file beside them, made again from the folders whenever it is missing."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lowland.files import read_json

__all__ = ["Run", "find", "summarise"]

FILE = "index.sqlite"

TABLE = """CREATE TABLE IF NOT EXISTS runs
    (path TEXT PRIMARY KEY, study TEXT, settings TEXT, started TEXT, cells INTEGER, done INTEGER,
     verdicts TEXT, stamp TEXT)"""

QUERY = """SELECT path, study, settings, started, cells, done, verdicts FROM runs
    WHERE (study LIKE :like OR path LIKE :like OR settings LIKE :like)
    AND (:study = '' OR study = :study) AND started >= :since
    AND (:verdict = '' OR EXISTS (SELECT 1 FROM json_each(verdicts) WHERE value = :verdict))
    ORDER BY started DESC, path"""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run folder in a line."""

    path: str
    """The folder, relative to the folder of all runs."""
    study: str
    """Name of the study."""
    settings: str
    """Its settings as JSON."""
    started: str
    """When it was begun, ISO 8601 in UTC; empty if not known."""
    cells: int
    """Runs in its grid."""
    done: int
    """Runs that are done."""
    verdicts: str
    """Verdict of each claim by id, as JSON; ``{}`` before the study is finished."""

    @property
    def finished(self) -> bool:
        """Whether every run of the grid is done."""
        return self.done >= self.cells


def find(out: Path, query: str = "", *, study: str = "", verdict: str = "", since: str = "") -> list[Run]:
    """Past runs, the latest first.

    Folders that appeared, changed or vanished since the last time are noticed, so the index is never stale.

    Args:
        out: The folder of all runs.
        query: Text that the study's name, path or settings must contain. Empty matches all.
        study: Exact name of the study. Empty matches all.
        verdict: A verdict that at least one claim must have, such as ``fails``. Empty matches all.
        since: Earliest date of the start, such as ``2026-01-31``. Empty matches all.
    """
    if not out.is_dir():
        return []
    wanted = {"like": f"%{query}%", "study": study, "verdict": verdict, "since": since}
    with _connect(out) as base:
        _synchronise(base, out)
        return [Run(**row) for row in base.execute(QUERY, wanted)]


def summarise(out: Path, folder: Path) -> Run:
    """A run folder in a line; an error if its ``config.json`` is missing or not readable."""
    config = read_json(folder / "config.json")
    return Run(
        path=folder.relative_to(out).as_posix(),
        study=config["study"],
        settings=json.dumps(config["settings"], ensure_ascii=False),
        started=_or(folder / "environment.json", {}).get("started", ""),
        cells=config["cells"],
        done=sum(1 for _ in (folder / "cells").glob("[!.]*.json")),
        verdicts=json.dumps({claim["id"]: claim["verdict"] for claim in _or(folder / "claims.json", [])}),
    )


@contextmanager
def _connect(out: Path) -> Iterator[sqlite3.Connection]:
    """The index, made anew if damaged; in memory where its file cannot be used, as on a read-only disk."""
    base = _open(out / FILE)
    try:
        with base:
            yield base
    finally:
        base.close()


def _open(file: Path) -> sqlite3.Connection:
    try:
        return _prepare(sqlite3.connect(file, timeout=10))
    except sqlite3.OperationalError:
        return _prepare(sqlite3.connect(":memory:"))
    except sqlite3.DatabaseError:
        file.unlink()
        return _prepare(sqlite3.connect(file, timeout=10))


def _prepare(base: sqlite3.Connection) -> sqlite3.Connection:
    base.row_factory = lambda cursor, row: {d[0]: value for d, value in zip(cursor.description, row, strict=True)}
    try:
        base.execute("PRAGMA journal_mode=WAL")
        base.execute(TABLE)
    except sqlite3.DatabaseError:
        base.close()
        raise
    return base


def _synchronise(base: sqlite3.Connection, out: Path) -> None:
    """Read again the folders whose stamp changed, forget those that are gone."""
    known = {row["path"]: row["stamp"] for row in base.execute("SELECT path, stamp FROM runs")}
    there = {file.parent.relative_to(out).as_posix(): file.parent for file in out.glob("*/*/config.json")}
    base.executemany("DELETE FROM runs WHERE path = ?", [(path,) for path in known.keys() - there.keys()])
    for path, folder in there.items():
        if known.get(path) != (stamp := _stamp(folder)):
            _note(base, out, folder, stamp)


def _stamp(folder: Path) -> str:
    """Changes whenever a run is finished or a claim is judged."""
    files = [folder / name for name in ("config.json", "environment.json", "cells", "claims.json")]
    return "/".join(str(file.stat().st_mtime_ns) if file.exists() else "" for file in files)


def _note(base: sqlite3.Connection, out: Path, folder: Path, stamp: str) -> None:
    # A folder that is not one of ours, or is damaged, is left out rather than shown wrongly.
    with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        values = {**asdict(summarise(out, folder)), "stamp": stamp}
        names = ", ".join(f":{name}" for name in values)
        base.execute(f"INSERT OR REPLACE INTO runs VALUES ({names})", values)


def _or(file: Path, otherwise: Any) -> Any:  # noqa: ANN401 - the file decides
    try:
        return read_json(file)
    except (OSError, ValueError):
        return otherwise
