"""What came out of a study, on the terminal."""

from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lowland.report.claim import Verdict
from lowland.report.page import Page
from lowland.runs.grid import Outcome

__all__ = ["say_failures", "say_result"]

COLOURS = {"holds": "green", "fails": "red", "inconclusive": "yellow"}


def say_result(console: Console, page: Page, folder: Path) -> None:
    """Print the verdicts, or the tables of a study without claims, and where the page is."""
    if page.verdicts:
        console.print(_verdicts(page.verdicts))
        console.print(f"[bold]{page.headline}[/]", highlight=False)
    for table in () if page.verdicts else page.tables:
        console.print(table.rich())
    console.print(f"Page: {folder / 'index.html'}", highlight=False, soft_wrap=True, markup=False)


def say_failures(console: Console, outcome: Outcome, folder: Path) -> None:
    """Print how many runs failed, why, and where their tracebacks are."""
    if not outcome.failures:
        return
    failed = len(outcome.failures)
    console.print(f"[bold red]{failed} of {outcome.cells} runs failed.[/]", highlight=False)
    for reason, count in Counter(failure.reason for failure in outcome.failures).items():
        console.print(f"  {count} x {escape(reason)}", highlight=False, soft_wrap=True)
    where = folder / "failures"
    console.print(f"Tracebacks: {where}. The same command tries them again.", highlight=False, soft_wrap=True)


def _verdicts(verdicts: tuple[Verdict, ...]) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 1, 0))
    table.add_column("verdict", no_wrap=True)
    table.add_column("claim", ratio=1)
    table.add_column("effect [95 % interval]", max_width=34)
    table.add_column("seeds", justify="right")
    for verdict in verdicts:
        colour = COLOURS[verdict.outcome]
        effect = verdict.decisive
        found = f"{effect.name}: {effect.interval} {effect.unit}".strip() if effect else ""
        words = f"{verdict.claim.text}\n[dim]{escape(' '.join(verdict.reasons))}[/]".rstrip("\n[dim]/")
        seeds = str(effect.seeds) if effect else ""
        table.add_row(f"[{colour}]{verdict.outcome}[/]", words, escape(found), seeds)
    return table
