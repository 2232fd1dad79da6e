"""A study's result as one self-contained HTML page that works offline, in the dark, on a phone and on paper."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lowland.files import write_whole
from lowland.report.claim import Verdict
from lowland.report.figure import Figure, Panel, Scatter
from lowland.report.table import Table, cell_text

__all__ = ["Page", "render", "write_page"]


@dataclass(frozen=True, kw_only=True)
class Page:
    """Everything a page shows, as plain data.

    Attributes:
        title: Name of the study, such as ``sam_lowers_feature_rank``.
        question: What was asked, as one sentence; the heading.
        summary: What was done, for a reader who knows the field; a blank line between paragraphs.
        facts: What the reader needs before anything else, such as data, model and number of seeds.
        notes: Warnings to see first, such as runs that failed.
        verdicts: The claims and what became of them; without any, the tables come first.
        figures: In reading order, each title once.
        tables: In reading order, each title once.
        cost: Passes per step, seconds per run; None leaves the section out.
        settings: The configuration; may be nested.
        environment: Versions and machine; may be nested.
        command: What to type to get this page again.
        files: Raw material: what it is -> its path relative to the page.

    Raises:
        ValueError: If two figures or two tables would have the same file name, or a path is not relative.
    """

    title: str
    question: str
    summary: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    cost: Table | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    files: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind, things in (("figures", self.figures), ("tables", self.all_tables)):
            doubled = [stem for stem, count in Counter(each.stem for each in things).items() if count > 1]
            if doubled:
                raise ValueError(f"{kind} must have different titles, got {doubled[0]!r} twice.")
        for path in self.files.values():
            if re.match(r"[a-zA-Z][\w+.-]*:|/|\\", path):
                raise ValueError(f"files must be paths relative to the page, got {path!r}.")

    @property
    def all_tables(self) -> tuple[Table, ...]:
        """The tables and, if there is one, the cost."""
        return (*self.tables, self.cost) if self.cost else self.tables

    @property
    def headline(self) -> str:
        """How many claims hold, fail and are inconclusive, as a sentence; empty without claims."""
        counts = Counter(verdict.outcome for verdict in self.verdicts)
        words = {
            "holds": ("holds", "hold"),
            "fails": ("fails", "fail"),
            "inconclusive": ("is inconclusive", "are inconclusive"),
        }
        parts = [
            f"{counts[key]} {many if counts[key] != 1 else one}"
            for key, (one, many) in words.items()
            if counts[key]
        ]
        if not parts:
            return ""
        listed = " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
        return (
            f"Of {len(self.verdicts)} claims, {listed}."
            if len(self.verdicts) > 1
            else f"The one claim {parts[0][2:]}."
        )


def write_page(folder: Path, page: Page) -> Path:
    """Write figures, tables and then ``index.html`` into a run's folder.

    Args:
        folder: The run's folder; gets ``figures/`` and ``tables/``.
        page: What to show.

    Returns:
        The path of ``index.html``. It is written last and whole: if it is there, so is what it links to.
    """
    from lowland.report.plot import save

    for figure in page.figures:
        save(figure, folder / "figures")
    for table in page.all_tables:
        table.save(folder / "tables")
    return write_whole(folder / "index.html", render(page))


def render(page: Page) -> str:
    """The page as HTML, pictures and style included; the same page gives the same text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from lowland.report.strip import strips
    from lowland.report.style import DARK, LIGHT

    shelf = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shelf.filters.update(cell=cell_text, flat=_flat, papers=_papers)
    tools = {"picture": _picture, "strips": strips, "numbers": _numbers, "light": LIGHT, "dark": DARK}
    return shelf.get_template("page.html").render(page=page, **tools)


def _picture(figure: Figure, at: int) -> str:
    from lowland.report.inline import inline
    from lowland.report.plot import panel_svg

    panel = figure.panels[at]
    title = panel.title or figure.title
    return inline(panel_svg(panel), prefix=f"{figure.stem}-{at}", title=title, description=panel.description)


def _numbers(panel: Panel | Scatter) -> Table:
    """What a panel shows, as a table: a row per x, a column per curve; of a scatter a row per point."""
    title = panel.title or panel.y_label
    if isinstance(panel, Scatter):
        lines = tuple((curve.label, curve.x[0], curve.intervals[0]) for curve in panel.curves)
        return Table(title=title, columns=("", panel.x_label, panel.y_label), rows=lines)
    points = sorted({x for curve in panel.curves for x in curve.x})
    found = [dict(zip(curve.x, curve.intervals, strict=True)) for curve in panel.curves]
    rows = tuple((point, *(column.get(point) for column in found)) for point in points)
    labels = tuple(curve.label for curve in panel.curves)
    return Table(title=title, columns=(panel.x_label, *labels), rows=rows)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as ``outer.inner`` -> text."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else _plain(value)
    return flat


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(item if isinstance(item, str) else _plain(item) for item in value)
    return "–" if value is None else json.dumps(value, ensure_ascii=False, default=str)


def _papers(text: str) -> str:
    """The text with arXiv numbers as links; safe to put into HTML."""
    from markupsafe import Markup, escape

    link = r'<a href="https://arxiv.org/abs/\2">\1\2</a>'
    return Markup(re.sub(r"(arXiv[: ]+)(\d{4}\.\d{4,5})", link, str(escape(text))))
