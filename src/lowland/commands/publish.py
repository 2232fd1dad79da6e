"""A finished run's folder becomes verdicts, tables, figures and a page."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from lowland.commands.cost import cost
from lowland.commands.prose import flowing, readable
from lowland.commands.source import sections
from lowland.files import read_json, write_whole
from lowland.report.claim import Claim, judge_all
from lowland.report.page import Page, write_page
from lowland.runs.folder import RunFolder
from lowland.runs.grid import Outcome
from lowland.runs.study import Study

__all__ = ["publish"]

Rows = Sequence[Mapping[str, Any]]

FACTS = ("data", "model", "seeds")
"""Settings to see first, where a study has them."""

FILES = {
    "rows": "rows.jsonl",
    "seconds": "timings.jsonl",
    "verdicts": "claims.json",
    "settings": "config.json",
    "environment": "environment.json",
}


def publish(study: Study, config: object, folder: RunFolder, outcome: Outcome, command: str) -> Page:
    """Judge the claims and write ``claims.json``, ``tables/``, ``figures/`` and ``index.html``.

    Args:
        study: What was run.
        config: Its settings.
        folder: Its open folder, with its rows.
        outcome: What became of its grid; failed runs make every verdict inconclusive.
        command: What to type to get the page again.

    Returns:
        What the page shows.
    """
    rows, timings = folder.rows(), folder.timings()
    missing = _missing(outcome)
    verdicts = judge_all(cast("Sequence[Claim]", study.part("CLAIMS")), rows, missing=missing)
    records = [verdict.record() for verdict in verdicts]
    write_whole(folder.path / "claims.json", json.dumps(records, indent=2, ensure_ascii=False) + "\n")
    settings = read_json(folder.path / "config.json")["settings"]
    page = Page(
        title=study.name,
        question=study.module.QUESTION,
        summary=_summary(study),
        facts={name: str(settings[name]) for name in FACTS if name in settings},
        notes=(missing,) if missing else (),
        verdicts=verdicts,
        figures=(
            *_made(study, "timed_figures", bool(missing), config, rows, timings),
            *_made(study, "figures", bool(missing), config, rows),
        ),
        tables=_made(study, "tables", bool(missing), config, rows),
        cost=cost(timings, rows, list(study.cells(config)[0])),
        settings=settings,
        environment=read_json(folder.path / "environment.json"),
        command=command,
        files=FILES,
    )
    write_page(folder.path, page)
    return page


def _missing(outcome: Outcome) -> str:
    failed = len(outcome.failures)
    if not failed:
        return ""
    return f"{failed} of {outcome.cells} runs failed; the same command tries them again."


def _summary(study: Study) -> str:
    """The study's docstring without its first line, which the question says better."""
    text = sections(study.module.__doc__ or "")[""].partition("\n")[2].strip()
    return flowing(readable(text))


def _made(study: Study, part: str, incomplete: bool, config: object, *given: Rows) -> tuple[Any, ...]:
    """A study's figures or tables; none if it needs rows that failed runs did not give."""
    make = study.part(part, None)
    if not callable(make) or not all(given):
        return ()
    if not incomplete:
        return tuple(cast("Sequence[Any]", make(config, *given)))
    with suppress(ValueError, LookupError):
        return tuple(cast("Sequence[Any]", make(config, *given)))
    return ()
