"""One process that does runs, seen from the parent."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context

from lowland.runs.cell import Cell
from lowland.runs.worker import Job, work

__all__ = ["Event", "Process"]

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}
"""One thread per process, and the same orders and sums in every run; libraries read these when they load."""


@dataclass(frozen=True)
class Event:
    """Something that happened to a run."""

    kind: str
    """``started``, ``advanced``, ``done`` or ``failed``."""
    key: str
    """Which run."""
    text: str = ""
    """The record of a finished run, or the reason of a failure."""
    share: float = 0.0
    """How much of an advancing run is done, in [0, 1]."""


class Process:
    """A process and the key of the run it is busy with, empty when idle.

    Args:
        job: What the runs have in common.
        device: Name of the torch device to compute on.
    """

    def __init__(self, job: Job, device: str) -> None:
        context = get_context("spawn")
        self.key = ""
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=work, args=(theirs, job, device))
        with _environment():
            self._process.start()
        theirs.close()  # so that our end hears when the process dies

    def give(self, key: str, cell: Cell) -> None:
        """Hand over a run; a process that died meanwhile says so in its next event."""
        self.key = key
        with suppress(OSError):
            self.connection.send(cell)

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.is_alive()

    def event(self) -> Event:
        """What the process said last, or that it died."""
        key = self.key
        kind, value = self._hear() or ("failed", self._obituary())
        if kind == "advanced":
            return Event(kind, key, share=float(str(value)))
        self.key = ""
        return Event(kind, key, text=str(value))

    def ask_to_stop(self) -> None:
        """Stop an idle process by word, a busy one by a signal that lets it save."""
        if self.key:
            self._process.terminate()
            return
        with suppress(OSError):
            self.connection.send(None)

    def wait(self, seconds: float) -> None:
        """Wait for the end, at most so many seconds."""
        self._process.join(seconds)

    def kill(self) -> None:
        """End the process by force, if it still runs."""
        self._process.kill()
        self._process.join()

    def _hear(self) -> tuple[str, object] | None:
        """The next message; None if the process died before it said one whole."""
        try:
            return self.connection.recv() if self.alive() or self.connection.poll() else None
        except (EOFError, OSError):
            return None

    def _obituary(self) -> str:
        self.wait(1.0)
        self.kill()
        code = self._process.exitcode or 0
        if code >= 0:
            return f"The process ended with exit code {code} in the middle of the run."
        name = signal.Signals(-code).name
        remedy = " The machine may have run out of memory: try fewer workers." if name == "SIGKILL" else ""
        return f"The process was killed by {name} in the middle of the run.{remedy}"


@contextmanager
def _environment() -> Iterator[None]:
    """Environment variables that a process must be born with."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            _put_back(name, value)


def _put_back(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
