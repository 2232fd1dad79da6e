"""``lowland study --all``: every study with its quick settings, and one table of what they found."""

import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from lowland.commands.carry_out import INTERRUPTED, Order, carry_out
from lowland.commands.door import door, refuse
from lowland.commands.kinds import studies
from lowland.commands.study import elsewhere
from lowland.files import read_json, write_whole
from lowland.report.findings import Found, findings
from lowland.runs.folder import RunFolder
from lowland.runs.opening import place
from lowland.runs.study import Study

__all__ = ["carry_out_all", "every_study"]

TABLE = Path("docs/findings.md")


def every_study(
    *,
    every: Annotated[bool, Parameter(name="--all", negative=())] = False,
    out: Path = Path("runs"),
    workers: int | None = None,
    fresh: Annotated[bool, Parameter(negative=())] = False,
    table: Path = TABLE,
) -> int:
    """Run a study, or with --all every study.

    Args:
        every: Every study with its quick settings, one after the other, then a table of what they found. What is
            finished is not run again; after Ctrl-C the same command goes on.
        out: Folder of all runs.
        workers: Processes at a time. By default one per GPU, or one per core without GPUs.
        fresh: Do finished runs anew instead of taking them as they are.
        table: File of the table; pages and figures are copied beside it.
    """
    if not every:
        refuse(f"study must be followed by --all, a name ({', '.join(studies())}) or a Python file of yours.")
    return carry_out_all(studies(), out=out, workers=workers, fresh=fresh, table=table)


def carry_out_all(
    references: Sequence[str], *, out: Path, table: Path, workers: int | None = None, fresh: bool = False
) -> int:
    """Run studies with their quick settings and write the table; one that fails does not stop the others.

    Returns:
        Exit code: 0, or 1 if a study failed or was refused, or 130 after Ctrl-C, without a table.
    """
    found: list[Found] = []
    missing: list[str] = []
    for reference in references:
        study = Study(reference)
        config = study.module.Config()
        command = f"lowland study {reference} {elsewhere(out)}".strip()
        code = _code(Order(study=study, config=config, command=command, out=out, workers=workers, fresh=fresh))
        if code == INTERRUPTED:
            _say_how_to_go_on(out, table)
            return code
        if code:
            missing.append(study.name)
        else:
            path = place(out, study.name, config, study.cells(config))
            found.append(_found(study.name, RunFolder(path), table.parent))
    with door(code=1):
        write_whole(table, findings(found, missing))
    Console().print(f"Findings: {table}", highlight=False, soft_wrap=True, markup=False)
    return 1 if missing else 0


def _say_how_to_go_on(out: Path, table: Path) -> None:
    """What to type for the rest."""
    named = "" if table == TABLE else shlex.join(["--table", str(table)])
    words = ["lowland study --all", elsewhere(out), named, "goes on with this study, and then the others."]
    Console().print(" ".join(word for word in words if word), highlight=False, soft_wrap=True, markup=False)


def _code(order: Order) -> int:
    """The exit code of one study; what it refuses has been said."""
    try:
        return carry_out(order)
    except SystemExit as refusal:
        return int(refusal.code or 0)


def _found(name: str, folder: RunFolder, beside: Path) -> Found:
    """What a study found, with its page and first figure copied to ``studies/`` beside the table."""
    page = _copied(folder.path / "index.html", beside / "studies" / f"{name}.html")
    figures = sorted((folder.path / "figures").glob("*.svg"), key=os.path.getmtime)
    figure = _copied(figures[0], beside / "studies" / f"{name}.svg") if figures else ""
    return Found(
        study=name,
        claims=read_json(folder.path / "claims.json"),
        seconds=sum(row["seconds"] for row in folder.timings()),
        page=page,
        figure=figure,
    )


def _copied(file: Path, to: Path) -> str:
    """Copy a file to ``studies/``; its address from beside that folder."""
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, to)
    return f"{to.parent.name}/{to.name}"
