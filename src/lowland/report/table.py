"""A table of results, once, and as CSV, Markdown, LaTeX and in the terminal."""

import csv
import io
import math
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lowland.files import write_whole
from lowland.report.interval import Interval
from lowland.report.latex import escape
from lowland.report.number import number
from lowland.report.slug import slug

if TYPE_CHECKING:
    import rich.table

__all__ = ["Cell", "Table", "cell_text"]

Cell = str | int | float | bool | Interval | None
"""What a table may hold. None is an empty cell; an Interval shows its value and its ends."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under column headings, with the best cells marked.

    Attributes:
        title: One line above the table; also names its files.
        columns: The headings, with units; c of them, at least one.
        rows: The cells, shape ``(r, c)``.
        caption: A sentence or two about what is shown.
        best: Cells to mark, as (row, column) counted from 0; see :meth:`marked`.

    Raises:
        ValueError: If a row has another number of cells than there are columns.

    Example:
        >>> print(Table(title="Error", columns=("method", "error (%)"), rows=(("sgd", 5.2),)).markdown())
        | method | error (%) |
        |:--|--:|
        | sgd | 5.2 |
        <BLANKLINE>
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    best: frozenset[tuple[int, int]] = frozenset()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"rows must have {len(self.columns)} cells each, got {len(row)} in {row}.")

    @property
    def stem(self) -> str:
        """The name of its files, without ending."""
        return slug(self.title)

    @property
    def numeric(self) -> tuple[bool, ...]:
        """For each column, whether its filled cells are all numbers, to be aligned to the right."""
        columns = [[row[at] for row in self.rows] for at in range(len(self.columns))]
        return tuple(all(cell is None or _is_number(cell) for cell in column) for column in columns)

    def text(self, row: int, column: int) -> str:
        """How one cell reads; the intervals of a column have the same number of decimals."""
        cell = self.rows[row][column]
        if not isinstance(cell, Interval):
            return cell_text(cell)
        found = [each[column] for each in self.rows]
        digits = [each.digits for each in found if isinstance(each, Interval)]
        known = [each for each in digits if each is not None]
        return cell.text(statistics.median_low(known) if known else None)

    def marked(self, column: str, better: Callable[[Sequence[float]], float] = min) -> "Table":
        """The same table with the best cell of a column marked; equals are all marked.

        Args:
            column: The heading.
            better: ``min`` if lower is better, ``max`` if higher is.

        Returns:
            A new table; unchanged if the column holds no number.

        Raises:
            LookupError: If there is no such column.
        """
        if column not in self.columns:
            raise LookupError(f"column must be one of {', '.join(self.columns)}, got {column!r}.")
        at = self.columns.index(column)
        sizes = {index: _size(row[at]) for index, row in enumerate(self.rows) if math.isfinite(_size(row[at]))}
        if not sizes:
            return self
        top = better(list(sizes.values()))
        found = {(index, at) for index, size in sizes.items() if size == top}
        return replace(self, best=self.best | found)

    def csv(self) -> str:
        """Comma-separated, every digit kept; an interval takes four columns: value, low, high, seeds."""
        wide = [any(isinstance(row[at], Interval) for row in self.rows) for at in range(len(self.columns))]
        head = [name for at, column in enumerate(self.columns) for name in _csv_heads(column, wide[at])]
        body = [[text for at, cell in enumerate(row) for text in _csv_cells(cell, wide[at])] for row in self.rows]
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows([head, *body])
        return file.getvalue()

    def markdown(self) -> str:
        """A pipe table; best cells in bold."""
        rules = ("--:" if right else ":--" for right in self.numeric)
        head = [_markdown(column) for column in self.columns]
        body = [self._texts(at, _markdown, "**{}**") for at in range(len(self.rows))]
        lines = [_piped(head), f"|{'|'.join(rules)}|", *map(_piped, body)]
        return "\n".join(lines) + "\n"

    def latex(self) -> str:
        r"""A booktabs table, escaped, for ``\usepackage{booktabs}``; best cells in bold."""
        spec = "".join("r" if right else "l" for right in self.numeric)
        head = [escape(column) for column in self.columns]
        body = [self._texts(at, escape, r"\textbf{{{}}}") for at in range(len(self.rows))]
        lines = [r"\begin{table}", r"\centering", rf"\caption{{{escape(self.title)}}}"]
        lines += [rf"\begin{{tabular}}{{{spec}}}", r"\toprule", _ampersands(head), r"\midrule"]
        lines += [*map(_ampersands, body), r"\bottomrule", r"\end{tabular}", r"\end{table}"]
        return "\n".join(lines) + "\n"

    def rich(self) -> "rich.table.Table":
        """For the terminal; best cells in bold."""
        from rich import box
        from rich.markup import escape as plain
        from rich.table import Table as RichTable

        drawn = RichTable(title=plain(self.title), box=box.SIMPLE_HEAD, title_justify="left")
        for column, right in zip(self.columns, self.numeric, strict=True):
            drawn.add_column(plain(column), justify="right" if right else "left", overflow="fold")
        for at in range(len(self.rows)):
            drawn.add_row(*self._texts(at, plain, "[bold]{}[/bold]"))
        return drawn

    def save(self, folder: Path) -> tuple[Path, ...]:
        """Write ``<title>.csv``, ``.md`` and ``.tex`` into ``folder``; returns their paths in this order."""
        kinds = {".csv": self.csv(), ".md": self.markdown(), ".tex": self.latex()}
        return tuple(write_whole(folder / f"{self.stem}{end}", text) for end, text in kinds.items())

    def _texts(self, row: int, write: Callable[[str], str], bold: str) -> list[str]:
        texts = [write(self.text(row, at)) for at in range(len(self.columns))]
        return [bold.format(text) if (row, at) in self.best else text for at, text in enumerate(texts)]


def cell_text(cell: Cell) -> str:
    """How a cell reads: about three digits, an interval with its ends, yes or no, nothing for None.

    Example:
        >>> cell_text(0.12345), cell_text(True), cell_text(None), cell_text("sgd")
        ('0.123', 'yes', '', 'sgd')
    """
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int | float):
        return number(cell)
    return "" if cell is None else str(cell)


def _is_number(cell: Cell) -> bool:
    return isinstance(cell, int | float | Interval) and not isinstance(cell, bool)


def _size(cell: Cell) -> float:
    if isinstance(cell, Interval):
        return cell.value
    return float(cell) if isinstance(cell, int | float) and not isinstance(cell, bool) else math.nan


def _csv_heads(column: str, wide: bool) -> list[str]:
    return [column, f"{column} low", f"{column} high", f"{column} seeds"] if wide else [column]


def _csv_cells(cell: Cell, wide: bool) -> list[str]:
    if isinstance(cell, Interval):
        return [repr(cell.value), repr(cell.low), repr(cell.high), str(cell.seeds)]
    text = "" if cell is None else str(cell)
    return [text, "", "", ""] if wide else [text]


def _markdown(text: str) -> str:
    return re.sub(r"([\\|*_`<])", r"\\\1", " ".join(text.split()))


def _piped(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _ampersands(texts: Sequence[str]) -> str:
    return f"{' & '.join(texts)} \\\\"
