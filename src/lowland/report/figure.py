"""A figure as plain data: panels of curves, each point a set of seeds; ``plot.py`` draws it."""

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from lowland.report.interval import Interval, interval
from lowland.report.number import number
from lowland.report.outcome import outcome_of
from lowland.report.slug import slug

if TYPE_CHECKING:
    from lowland.types import Row

__all__ = ["Curve", "Figure", "Panel", "Scatter"]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One line: at each x the values of all seeds.

    Attributes:
        label: What the line is, such as ``"layer 3"``.
        x: Ascending; p of them, at least one.
        values: For each x one number per seed; one that is not finite is a run that diverged.
    """

    label: str
    x: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]

    @classmethod
    def of(
        cls,
        rows: "Iterable[Row]",
        label: str,
        *,
        x: str,
        y: "str | Callable[[Row], float | None]",
        where: Mapping[str, Any] | None = None,
    ) -> "Curve":
        """Gather the curve from result rows; rows with one x are its seeds.

        Args:
            rows: Rows with the columns asked for.
            label: What the line is.
            x: Name of the column along the axis.
            y: Name of a column, or a function from a row to a number. None and rows that say ``diverged``
                count as diverged.
            where: Values that other columns must have, such as ``{"method": "sam"}``.

        Returns:
            The curve, its x ascending.

        Raises:
            ValueError: If no row fits.

        Example:
            >>> rows = [{"rho": r, "seed": s, "error": r + s} for r in (0.0, 0.1) for s in (0, 1)]
            >>> Curve.of(rows, "sam", x="rho", y="error").values
            ((0.0, 1.0), (0.1, 1.1))
        """
        found: dict[float, list[float]] = {}
        for row in rows:
            if all(row.get(key) == value for key, value in (where or {}).items()):
                found.setdefault(row[x], []).append(outcome_of(row, y))
        if not found:
            raise ValueError(f"rows must hold some with {x} and {dict(where or {})}, got none.")
        points = tuple(sorted(found))
        return cls(label=label, x=points, values=tuple(tuple(found[point]) for point in points))

    @property
    def intervals(self) -> tuple[Interval | None, ...]:
        """For each x the mean over the seeds that are finite, with its t-interval; None if there is none."""
        finite = [[value for value in seeds if math.isfinite(value)] for seeds in self.values]
        return tuple(interval(seeds) if seeds else None for seeds in finite)

    @property
    def broken(self) -> tuple[bool, ...]:
        """For each x, whether a seed diverged."""
        return tuple(not all(math.isfinite(value) for value in seeds) for seeds in self.values)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Curves on common axes.

    Attributes:
        x_label: What runs to the right, with its unit.
        y_label: What runs up, with its unit.
        curves: At least one.
        title: One short line; needed where a figure has several panels.
        x_scale: ``even`` sets the x of all curves side by side at equal distances, for grids such as
            0, 0.05, 0.1, 0.2, 0.4, 0.8.
        y_scale: Of the vertical axis.
        palette: ``ordered`` for curves that are steps of one quantity, such as layers or rho.
        spread: How intervals are drawn: ``bars`` for a few points, ``band`` for a course over time.
        x_names: Names of the points, which then stand at equal distances in their order, such as layers.
    """

    wide: ClassVar[bool] = False
    key: ClassVar[str] = ""

    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    title: str = ""
    x_scale: Literal["linear", "log", "even"] = "linear"
    y_scale: Literal["linear", "log"] = "linear"
    palette: Literal["distinct", "ordered"] = "distinct"
    spread: Literal["bars", "band"] = "bars"
    x_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.curves:
            raise ValueError(f"curves must have at least one curve, got none in the panel {self.y_label!r}.")

    @property
    def description(self) -> str:
        """The panel in words, for who does not see it: ends, lowest and highest point of every curve."""
        return f"{self.y_label} against {self.x_label}. {' '.join(map(_in_words, self.curves))}"


@dataclass(frozen=True, kw_only=True)
class Scatter:
    """Named points, lower and further left being better, and the front of those that none beats in both.

    Attributes:
        x_label: What runs to the right, with its unit.
        y_label: What runs up, with its unit.
        curves: The points, at least one: each a curve with a single x.
        title: One short line.

    Raises:
        ValueError: If there is no point, or a curve has several x.
    """

    wide: ClassVar[bool] = True
    spread: ClassVar[Literal["bars"]] = "bars"
    key: ClassVar[str] = "Blue and joined: the front, of which none is beaten in both respects."

    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    title: str = ""

    def __post_init__(self) -> None:
        if not self.curves or any(len(curve.x) != 1 for curve in self.curves):
            counts = [len(curve.x) for curve in self.curves]
            raise ValueError(f"curves must be points, at least one, with one x each, got {counts}.")

    @property
    def front(self) -> tuple[Curve, ...]:
        """The points that no other equals or beats in both respects, from left to right, by their means."""
        found: list[tuple[float, Curve]] = []
        for y, curve in sorted(self._means(), key=lambda point: (point[1].x, point[0])):
            if not found or y < found[-1][0]:
                found.append((y, curve))
        return tuple(curve for _, curve in found)

    @property
    def description(self) -> str:
        """The panel in words, for who does not see it: the front, and how many others there are."""
        named = [f"{curve.label}: {number(y)} at {number(curve.x[0])}" for y, curve in self._means(self.front)]
        others = len(self.curves) - len(named)
        return f"{self.y_label} against {self.x_label}. On the front: {'; '.join(named)}. {others} others."

    def _means(self, curves: tuple[Curve, ...] | None = None) -> list[tuple[float, Curve]]:
        """Mean and point, without those of which every seed diverged."""
        pairs = [(curve.intervals[0], curve) for curve in (self.curves if curves is None else curves)]
        return [(found.value, curve) for found, curve in pairs if found]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Panels that belong together, under one caption.

    Attributes:
        title: One line; also names the files.
        panels: At least one.
        caption: What is shown and what to look at; intervals and diverged runs explain themselves.
    """

    title: str
    panels: tuple[Panel | Scatter, ...]
    caption: str = ""

    @property
    def stem(self) -> str:
        """The name of its files, without ending."""
        return slug(self.title)

    @property
    def legend(self) -> str:
        """How to read intervals, single seeds, fronts and, if runs diverged, hollow points."""
        spreads = {panel.spread for panel in self.panels}
        marks = " and ".join(name for key, name in (("bars", "bars"), ("band", "bands")) if key in spreads)
        dots = any(len(panel.curves) == 1 and panel.spread == "bars" for panel in self.panels)
        hollow = any(any(curve.broken) for panel in self.panels for curve in panel.curves)
        keys = "".join(f" {key}" for key in dict.fromkeys(panel.key for panel in self.panels) if key)
        several = any(len(seeds) > 1 for panel in self.panels for curve in panel.curves for seeds in curve.values)
        said = f"{marks.capitalize()}: 95 % t-intervals over seeds." if several else ""
        said += " Faint dots: single seeds." if dots and several else ""
        return (said + keys).strip() + (" Hollow points: some seeds diverged and are left out." if hollow else "")

    def csv(self) -> str:
        """The numbers behind the figure: panel, curve, x, mean, ends of the interval, seeds, seeds left out."""
        file = io.StringIO()
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["panel", "curve", "x", "mean", "low", "high", "seeds", "diverged"])
        for panel in self.panels:
            table.writerows(row for curve in panel.curves for row in _csv_rows(panel, curve))
        return file.getvalue()


def _csv_rows(panel: Panel | Scatter, curve: Curve) -> list[list[object]]:
    name = panel.title or panel.y_label
    rows: list[list[object]] = []
    for x, found, seeds in zip(curve.x, curve.intervals, curve.values, strict=True):
        sizes = [found.value, found.low, found.high, found.seeds] if found else ["", "", "", 0]
        lost = len(seeds) - (found.seeds if found else 0)
        rows.append([name, curve.label, x, *sizes, lost])
    return rows


def _in_words(curve: Curve) -> str:
    known = [(x, found.value) for x, found in zip(curve.x, curve.intervals, strict=True) if found]
    if not known:
        return f"{curve.label}: every seed diverged."
    low, high = min(known, key=lambda point: point[1]), max(known, key=lambda point: point[1])
    first, last = known[0], known[-1]
    course = f"{number(first[1])} at {number(first[0])}, {number(last[1])} at {number(last[0])}"
    ends = f"lowest {number(low[1])} at {number(low[0])}, highest {number(high[1])} at {number(high[0])}"
    return f"{curve.label}: {course}; {ends}."
