"""``lowland list``: what there is, in one line each."""

from rich.console import Console
from rich.table import Table

from lowland.commands.door import door
from lowland.commands.kinds import KINDS, Kind, kind
from lowland.commands.prose import readable
from lowland.commands.source import read

__all__ = ["list_things"]


def list_things(kind_of_thing: str = "", /) -> int:
    """List studies, methods, penalties, measurements, models and data sets, one line each.

    Args:
        kind_of_thing: Only this kind: studies, methods, penalties, measurements, models, data or pairs.
    """
    with door():
        chosen = [kind(kind_of_thing)] if kind_of_thing else KINDS
    console = Console()
    for each in chosen:
        console.print(_table(each))
    console.print("[dim]lowland show NAME[/] says more about any of them.", highlight=False)
    return 0


def _table(each: Kind) -> Table:
    table = Table(title=each.title, title_justify="left", title_style="bold", box=None, show_header=False)
    table.add_column(style="cyan", no_wrap=True, min_width=22)
    table.add_column(overflow="fold")
    for name in each.names():
        table.add_row(name, readable(read(each.module(name)).summary))
    if not table.rows:
        table.add_row("(none yet)", "")
    table.add_row("", "")
    return table
