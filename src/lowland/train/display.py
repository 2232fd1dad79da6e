"""Training progress on the terminal; plain lines where there is none."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from lowland.train.position import Position
from lowland.train.tally import Tally

__all__ = ["Display"]

REFRESH = 0.25
LINES_APART = 2.0
ROOM_FOR_A_BAR = 110
"""Columns of a terminal below which the numbers need all of it."""


class Display:
    """One live line with epoch, step, time to go, loss, accuracy and passes per step.

    Goes to standard error. On a terminal it is redrawn at most four times a second, which is also how often
    the device is waited for; elsewhere it is a line at an epoch's end, at most one in two seconds.

    Args:
        epochs: Of the whole training.
        steps: Of the whole training.
        shown: Whether to show anything.
        console: Where; None is standard error.
    """

    def __init__(self, epochs: int, steps: int, shown: bool = True, console: Console | None = None) -> None:
        self._epochs, self._steps, self._shown = epochs, steps, shown
        self._console = console or Console(stderr=True, soft_wrap=True, highlight=False)
        self._bar = self._live() if shown and self._console.is_terminal else None
        self._began = self._last = time.monotonic()
        self._start: int | None = None

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def due(self, now: float) -> bool:
        """Whether to redraw, after a step."""
        return self._bar is not None and now - self._last >= REFRESH

    def begin(self, position: Position) -> None:
        """Time to go is reckoned from here."""
        self._start, self._began = position.step, time.monotonic()

    def update(self, position: Position, tally: Tally) -> None:
        """Redraw; waits for the device."""
        if self._bar is None:
            return
        self._last = time.monotonic()
        text = self._numbers(position, tally.loss, tally.accuracy, tally.passes / max(1, tally.steps))
        self._bar.update(self._bar.task_ids[0], completed=position.step, numbers=text)
        self._bar.refresh()

    def epoch(self, position: Position) -> None:
        """Show the row of the epoch that has just ended."""
        now = time.monotonic()
        last = position.stopped or position.epoch == self._epochs
        if not self._shown or not (last or self._bar or now - self._last >= LINES_APART):
            return
        self._last, row = now, position.rows[-1]
        text = self._numbers(position, row["loss"], row["accuracy"], row["passes"])
        if self._bar is None:
            self.say(text)
        else:
            self._bar.update(self._bar.task_ids[0], completed=position.step, numbers=text)
            self._bar.refresh()

    def say(self, sentence: str) -> None:
        """A line of its own."""
        if self._shown:
            self._console.print(sentence, markup=False, highlight=False)

    def _live(self) -> Progress:
        numbers = TextColumn("{task.fields[numbers]}", table_column=Column(overflow="fold"))
        columns = [BarColumn(20), numbers] if self._console.width >= ROOM_FOR_A_BAR else [numbers]
        bar = Progress(*columns, console=self._console, auto_refresh=False)
        bar.add_task("", total=self._steps, numbers="")
        return bar

    def _numbers(self, position: Position, loss: float | None, accuracy: float | None, passes: float) -> str:
        epoch = min(position.epoch + (position.batch > 0), self._epochs)
        parts = [
            f"epoch {epoch}/{self._epochs}",
            f"step {position.step}/{self._steps}",
            f"ETA {self._to_go(position.step)}",
            "loss not finite" if loss is None else f"loss {loss:.4g}",
            "" if accuracy is None else f"accuracy {accuracy:.1%}",
            f"{passes:.3g} passes/step",
        ]
        return "  ".join(part for part in parts if part)

    def _to_go(self, step: int) -> str:
        done = step - (self._start or 0)
        if done <= 0:
            return "--:--"
        seconds = round((time.monotonic() - self._began) / done * (self._steps - step))
        hours = f"{seconds // 3600}:" if seconds >= 3600 else ""
        return f"{hours}{seconds // 60 % 60:02d}:{seconds % 60:02d}"
