"""``lowland runs``: what was run before, and what came out."""

import json
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lowland.checks import one_of
from lowland.commands.door import door
from lowland.runs.index import Run, find

__all__ = ["list_runs"]

VERDICTS = {"holds": "green", "fails": "red", "inconclusive": "yellow"}


def list_runs(
    query: str = "",
    /,
    *,
    out: Path = Path("runs"),
    study: str = "",
    verdict: str = "",
    since: str = "",
) -> int:
    """List past runs, the latest first.

    Args:
        query: Only runs whose study, folder or settings contain this text.
        out: The folder of all runs.
        study: Only runs of this study.
        verdict: Only runs in which a claim got this verdict: holds, fails or inconclusive.
        since: Only runs begun on or after this date, such as 2026-01-31.
    """
    with door():
        if verdict:
            one_of("verdict", verdict, VERDICTS)
        runs = find(out, query, study=study.replace("-", "_"), verdict=verdict, since=since)
    if not runs:
        Console().print(f"No runs in {out}/ match. `lowland study NAME` makes one.", markup=False, soft_wrap=True)
        return 0
    Console().print(_table(runs))
    return 0


def _table(runs: list[Run]) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("started (UTC)", "run", "done", "verdicts"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "started (UTC)")
    for run in runs:
        started = run.started[:16].replace("T", " ")
        table.add_row(started, run.path, f"{run.done}/{run.cells}", _verdicts(run))
    return table


def _verdicts(run: Run) -> str:
    counts = Counter(json.loads(run.verdicts).values())
    return ", ".join(f"[{colour}]{counts[word]} {word}[/]" for word, colour in VERDICTS.items() if counts[word])
