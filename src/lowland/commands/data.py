"""``lowland data``: what data there is, and how to get the rest."""

from pathlib import Path

from cyclopts import App
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from lowland import catalog
from lowland.commands.door import door

__all__ = ["data_app"]

data_app = App(
    name="data",
    help="Say what data there is on this machine; fetch the official files; check them.",
    help_format="plaintext",
    help_epilogue="",
)


@data_app.default
@data_app.command(name="status")
def status() -> int:
    """List the data sets: where each was found, how large it is."""
    from lowland.data import status as sets

    with door():
        found = sets.status()
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("data set", "images", "classes", "found in"):
        table.add_column(heading, justify="right" if heading in ("images", "classes") else "left", overflow="fold")
    for each in found:
        sizes = f"{each.train:,} + {each.test:,}"
        table.add_row(each.name, sizes, str(each.classes), _where(each.where, each.name, each.held, each.train))
    Console().print(table)
    return 0


@data_app.command(name="fetch")
def fetch(name: str, /) -> int:
    """Fetch the official files of a data set into lowland's cache, going on where an earlier fetch stopped.

    Args:
        name: A data set, such as fashion-mnist.
    """
    with door():
        downloads = catalog.load("data.sets", name).DOWNLOADS
    if not downloads:
        Console().print(f"{name} comes with scikit-learn: nothing to fetch.")
        return 0
    from lowland.data.fetch import fetch as bring

    with door(code=1), _Bars() as bars:
        bring(downloads, bars.show)
    return verify(name)


@data_app.command(name="verify")
def verify(name: str, /) -> int:
    """Read all of a data set and check it against its published digests.

    Args:
        name: A data set, such as fashion-mnist.
    """
    from lowland.data import status as sets

    with door():
        sentence = sets.verify(name)
    Console().print(sentence, highlight=False, soft_wrap=True, markup=False)
    return 0


def _where(where: Path | str | None, name: str, held: int, train: int) -> str:
    if where is None:
        return f"[dim]not here: lowland data fetch {name}[/]"
    return str(where) if held >= train else f"{where} (the first {held:,} training images)"


class _Bars:
    """A progress bar per file."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns)
        self.tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "_Bars":
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def show(self, file: str, done: int, total: int | None) -> None:
        """Show how far a file is."""
        if file not in self.tasks:
            self.tasks[file] = self.progress.add_task(file, total=total)
        self.progress.update(self.tasks[file], completed=done, total=total)
