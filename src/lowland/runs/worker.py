"""The process that does runs, one after the other, and sends back what each gave."""

import faulthandler
import hashlib
import os
import pickle
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path

from lowland.catalog import module
from lowland.runs.cell import Cell, key, to_json
from lowland.runs.context import Context

__all__ = ["Job", "work"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """What every worker of a grid is told at its start."""

    study: str
    """The study's name or file."""
    config: bytes
    """The study's settings, pickled: they can be read only once the study is loaded."""
    folder: Path
    """Folder of the whole run; workers write only its log and their scratch folders."""


def work(connection: Connection, job: Job, device: str) -> None:
    """Answer cells until told to stop, or until the parent is gone.

    Sends ``("advanced", share)`` any number of times, then ``("done", record)`` or ``("failed", traceback)``.

    Args:
        connection: Where cells come from and answers go to; None ends the work.
        job: What the runs have in common.
        device: Name of the torch device to compute on.
    """
    _settle(job.folder / "log.txt")
    try:
        while (cell := connection.recv()) is not None:
            connection.send(_attempt(cell, job, device, connection.send))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return


def _settle(log: Path) -> None:
    """Leave the terminal's group, write to the log, stop with the parent."""
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C reaches the parent only, which then stops its workers in order
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    sys.stdout.flush()
    os.dup2(file, 1)
    os.dup2(file, 2)
    faulthandler.enable()
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
    os._exit(1)


def _attempt(cell: Cell, job: Job, device: str, send: Callable[[tuple[str, object]], None]) -> tuple[str, str]:
    try:
        return "done", _record(cell, job, device, lambda share: send(("advanced", share)))
    except Exception:
        return "failed", traceback.format_exc()


def _record(cell: Cell, job: Job, device: str, tell: Callable[[float], None]) -> str:
    """One run as one line of JSON: its cell, rows and seconds, with a digest of the rows."""
    study = module("studies", job.study)
    config = pickle.loads(job.config)  # made by our own parent a moment ago
    _settle_numbers(key(cell), device)
    context = Context(device, job.folder / "scratch" / key(cell), tell)
    start = time.perf_counter()
    rows = list(study.run(config, dict(cell), context))
    seconds = {"seconds": time.perf_counter() - start, **context.timings}
    text = to_json(rows)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f'{{"cell": {to_json(cell)}, "digest": "{digest}", "timings": {to_json(seconds)}, "rows": {text}}}'


def _settle_numbers(name: str, device: str) -> None:
    """Start every run from the same random state, and let a GPU add in the same order every time."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(device != "cpu", warn_only=True)
