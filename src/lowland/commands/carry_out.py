"""Runs a study for a person at a terminal: progress, warnings, verdicts, exit code."""

import json
import shutil
import signal
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from lowland.commands.door import door, warn
from lowland.commands.publish import publish
from lowland.commands.result import say_failures, say_result
from lowland.files import read_json, write_whole
from lowland.runs.cell import Cell, check_cells
from lowland.runs.devices import devices
from lowland.runs.environment import changes, environment
from lowland.runs.folder import RunFolder
from lowland.runs.grid import Outcome, run_grid
from lowland.runs.index import find
from lowland.runs.opening import open_folder, place
from lowland.runs.progress import GridProgress
from lowland.runs.study import Study

__all__ = ["Order", "carry_out"]

INTERRUPTED = 130
"""Exit code that shells give to Ctrl-C."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """A study with everything that was said about it."""

    study: Study
    """What to run."""
    config: Any
    """Its settings."""
    command: str
    """What to type to order the same."""
    out: Path
    """Folder of all runs."""
    workers: int | None = None
    """Processes at a time; None chooses."""
    fresh: bool = False
    """Whether finished runs are done anew."""


def carry_out(order: Order) -> int:
    """Run a study's grid, publish what came out, and say it.

    Returns:
        Exit code: 0, or 1 if runs failed, or 130 after Ctrl-C. What was asked wrongly exits with 2.
    """
    console = Console()
    study = order.study
    with ExitStack() as stack:
        with door():
            devices(order.workers)
            study.check(order.config)
            cells = study.cells(order.config)
            check_cells(study.name, cells)
            path = place(order.out, study.name, order.config, cells)
            folder = stack.enter_context(open_folder(path, study.name, order.config, cells))
        with door(code=1):
            _prepare(order, folder, cells)
            outcome = _run(order, folder, console)
            if outcome is None:
                return INTERRUPTED
            return _finish(order, folder, outcome, console)


def _prepare(order: Order, folder: RunFolder, cells: list[Cell]) -> None:
    """Note the environment; say if finished runs come from another one."""
    if order.fresh:
        shutil.rmtree(folder.path / "cells", ignore_errors=True)
        (folder.path / "environment.json").unlink(missing_ok=True)
        (folder.path / "cells").mkdir(exist_ok=True)
    file = folder.path / "environment.json"
    now = {**environment(), "study_code": order.study.source()}
    before = read_json(file) if file.exists() else now
    new = changes(before, now)
    if new and any(folder.kept(cell) for cell in cells):
        warn(f"finished runs are taken as they are, although {'; '.join(new)}. --fresh does them anew.")
    if new or not file.exists():
        seen = before.get("later", []) if isinstance(before, dict) else []
        later = {"later": [*seen, *(phrase for phrase in new if phrase not in seen)]} if new else {}
        write_whole(file, json.dumps({**before, **later}, indent=2, ensure_ascii=False) + "\n")


def _run(order: Order, folder: RunFolder, console: Console) -> Outcome | None:
    """The grid; None if it was interrupted."""
    console.print(f"[bold]{order.study.name}[/]: {order.study.module.QUESTION}", highlight=False, soft_wrap=True)
    before = signal.signal(signal.SIGTERM, _interrupt)  # batch systems end jobs with it
    try:
        with GridProgress(console) as progress:
            return run_grid(order.study, order.config, folder, workers=order.workers, watcher=progress)
    except KeyboardInterrupt:
        _say_interrupted(order, folder, console)
        return None
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say_interrupted(order: Order, folder: RunFolder, console: Console) -> None:
    cells = order.study.cells(order.config)
    done = sum(folder.kept(cell) is not None for cell in cells)
    console.print(
        f"\nStopped: {done} of {len(cells)} runs are kept in {folder.path}.", highlight=False, soft_wrap=True
    )
    console.print("The same command goes on from there:", highlight=False)
    console.print(f"  {order.command}", highlight=False, soft_wrap=True, markup=False)


def _finish(order: Order, folder: RunFolder, outcome: Outcome, console: Console) -> int:
    if outcome.done:
        page = publish(order.study, order.config, folder, outcome, order.command)
        say_result(console, page, folder.path)
    say_failures(console, outcome, folder.path)
    with suppress(OSError):
        find(order.out)
    return 1 if outcome.failures else 0
