"""Do all runs of a study that are not done yet, over a few processes."""

import json
import pickle
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

from lowland.runs.cell import Cell, check_cells, key
from lowland.runs.devices import devices
from lowland.runs.folder import RunFolder
from lowland.runs.pool import Pool
from lowland.runs.process import Event
from lowland.runs.study import Study
from lowland.runs.worker import Job

__all__ = ["Failure", "Outcome", "Watcher", "run_grid"]

PAUSE = 5.0
"""Seconds between two writings of ``rows.jsonl`` while runs go on."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A run that raised, or whose process died."""

    cell: Cell
    """Which run."""
    reason: str
    """The last line of its traceback."""
    file: str
    """Where the whole traceback is."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a grid."""

    cells: int
    """Runs in the grid."""
    reused: int
    """Runs that were there already."""
    failures: tuple[Failure, ...]
    """Runs that failed, in the order they did."""

    @property
    def done(self) -> int:
        """Runs that have rows."""
        return self.cells - len(self.failures)


class Watcher(Protocol):
    """Is told what happens; shows it."""

    def begin(self, cells: int, reused: int) -> None:
        """The grid begins."""

    def see(self, event: Event, cell: Cell) -> None:
        """Something happened to a run."""


def run_grid(
    study: Study,
    config: object,
    folder: RunFolder,
    *,
    workers: int | None = None,
    watcher: Watcher | None = None,
) -> Outcome:
    """Do the runs of a study that the folder does not hold yet, and write its rows.

    Every finished run is kept at once, so whatever stops the grid costs the unfinished runs only, and
    ``rows.jsonl`` comes out the same, byte for byte, however often it was stopped. A run that raises or whose
    process dies is noted, and the others go on; calling again tries it anew.

    Refused before anything is done: an empty grid, a run listed twice, fewer than one worker. A folder that
    cannot be written stops the grid with an OSError; Ctrl-C stops the processes, writes the finished rows and
    goes on as KeyboardInterrupt.

    Args:
        study: What to run.
        config: Its settings.
        folder: An open folder; see :func:`lowland.runs.opening.open_folder`.
        workers: Processes, at least 1; None means one per GPU, or one per core without GPUs.
        watcher: Is told what happens.
    """
    cells = study.cells(config)
    check_cells(study.name, cells)
    ledger = _Ledger(folder, cells)
    names = devices(workers)
    watcher = watcher or _Nobody()
    watcher.begin(len(cells), len(ledger.records))
    job = Job(study=study.reference, config=pickle.dumps(config), folder=folder.path)
    reused, waiting = len(ledger.records), ledger.missing()
    try:
        with closing(Pool(job, names[: len(waiting)]).events(waiting)) as events:
            ledger.follow(events, watcher)
    finally:
        ledger.write()
        folder.tidy()
    return Outcome(cells=len(cells), reused=reused, failures=tuple(ledger.failures))


class _Nobody:
    """Is told, and shows nothing."""

    def begin(self, cells: int, reused: int) -> None:
        del cells, reused

    def see(self, event: Event, cell: Cell) -> None:
        del event, cell


class _Ledger:
    """Which runs are done, in memory and on disk."""

    def __init__(self, folder: RunFolder, cells: Sequence[Cell]) -> None:
        self.folder = folder
        self.cells = {key(cell): cell for cell in cells}
        kept = {name: folder.kept(cell) for name, cell in self.cells.items()}
        self.records: dict[str, Mapping[str, Any]] = {
            n: record for n, record in kept.items() if record is not None
        }
        self.failures: list[Failure] = []
        self._written = time.monotonic()

    def missing(self) -> dict[str, Cell]:
        return {name: cell for name, cell in self.cells.items() if name not in self.records}

    def follow(self, events: Iterable[Event], watcher: Watcher) -> None:
        for event in events:
            self.note(event)
            watcher.see(event, self.cells[event.key])

    def note(self, event: Event) -> None:
        cell = self.cells[event.key]
        if event.kind == "failed":
            self._fail(cell, event.text)
        if event.kind == "done":
            self.folder.keep(cell, event.text)
            self.records[event.key] = json.loads(event.text)
            self._write_now_and_then()

    def write(self) -> None:
        """The rows of all finished runs, in the order of the grid."""
        self.folder.assemble([self.records[name] for name in self.cells if name in self.records])
        self._written = time.monotonic()

    def _write_now_and_then(self) -> None:
        if time.monotonic() - self._written > PAUSE:
            self.write()

    def _fail(self, cell: Cell, text: str) -> None:
        file = self.folder.note_failure(cell, text)
        reason = text.strip().splitlines()[-1]
        self.failures.append(Failure(cell=cell, reason=reason, file=str(file)))
