"""Shows how a grid comes along: a bar with the time left in a terminal, plain lines elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from lowland.runs.cell import Cell, describe
from lowland.runs.process import Event

__all__ = ["GridProgress"]


class GridProgress:
    """A watcher of a grid, and a context manager around it.

    Args:
        console: Where to show. A line per finished run if it is not a terminal.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.shares: dict[str, float] = {}
        self.finished = self.reused = self.cells = 0
        self.start = time.monotonic()
        self._bar = _bar(console)
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._bar.stop()

    def begin(self, cells: int, reused: int) -> None:
        """The grid begins; ``reused`` of its runs are there already."""
        self.cells, self.finished, self.reused = cells, reused, reused
        if reused:
            self.console.print(f"{reused} of {cells} runs were there already.", highlight=False)
        if self.console.is_terminal and reused < cells:
            self._task = self._bar.add_task("", total=cells, completed=reused, left="")
            self._bar.start()

    def see(self, event: Event, cell: Cell) -> None:
        """Something happened to a run."""
        self.shares[event.key] = event.share
        if event.kind in ("done", "failed"):
            del self.shares[event.key]
            self.finished += 1
            self._tell(event, cell)
        if self._task is not None:
            words = escape(describe(cell))
            self._bar.update(self._task, completed=self._done(), description=words, left=self.left())

    def left(self) -> str:
        """The time left in words, from the pace so far; empty before there is one.

        Example:
            >>> GridProgress(Console()).left()
            ''
        """
        done = self._done() - self.reused
        if done <= 0:
            return ""
        seconds = (time.monotonic() - self.start) / done * (self.cells - self._done())
        return f"about {_words_for(seconds)} left" if seconds >= 1 else ""

    def _done(self) -> float:
        return self.finished + sum(self.shares.values())

    def _tell(self, event: Event, cell: Cell) -> None:
        if event.kind == "failed":
            self._line(f"failed: {describe(cell)}: {event.text.strip().splitlines()[-1]}", style="red")
        elif self._task is None:
            left = self.left()
            line = f"{self.finished:>{len(str(self.cells))}}/{self.cells}  {describe(cell)}"
            self._line(f"{line}  ({left})" if left else line)

    def _line(self, text: str, style: str | None = None) -> None:
        self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def _bar(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        MofNCompleteColumn(),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        TextColumn("[dim]{task.description}"),
        console=console,
        transient=True,
    )


def _words_for(seconds: float) -> str:
    """Seconds in words.

    Example:
        >>> _words_for(42.3), _words_for(100), _words_for(7300)
        ('42 s', '2 min', '2 h 2 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
