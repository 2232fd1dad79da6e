"""Draws figures with matplotlib: SVG for the page, SVG and PDF for papers. Same data, same bytes."""

import io
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowland.files import write_whole
from lowland.report.figure import Curve, Figure, Panel, Scatter
from lowland.report.number import number
from lowland.report.plot_scatter import draw_scatter, name_points
from lowland.report.style import LIGHT, MARKERS, RC, distinct, ordered

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure as Canvas

__all__ = ["draw", "panel_svg", "save"]

PANEL = (4.2, 2.9)
"""Width and height of a panel, inches."""

WIDE = (8.4, 5.2)
"""The same of a wide one."""

FEW_DECADES = 300
"""Largest over smallest on a logarithmic axis up to which ticks stand between the decades."""


def save(figure: Figure, folder: Path) -> tuple[Path, ...]:
    """Write a figure as ``.svg``, ``.pdf`` and ``.csv``.

    The files are for papers and slides: white or transparent ground, letters as outlines in the SVG and as
    embedded TrueType in the PDF, no dates.

    Args:
        figure: What to draw.
        folder: Where to; made if missing.

    Returns:
        The paths, in this order.
    """
    with _style(fonttype="path"):
        canvas = draw(figure.panels)
        svg = _bytes(canvas, "svg", facecolor="white")
        pdf = _bytes(canvas, "pdf", facecolor="none")
    kinds = {".svg": svg, ".pdf": pdf, ".csv": figure.csv().encode()}
    return tuple(write_whole(folder / f"{figure.stem}{end}", content) for end, content in kinds.items())


def panel_svg(panel: Panel | Scatter) -> str:
    """One panel as SVG with real text and a transparent ground, for :func:`lowland.report.inline.inline`."""
    with _style(fonttype="none"):
        return _bytes(draw([panel]), "svg", facecolor="none").decode()


def draw(panels: Sequence[Panel | Scatter]) -> "Canvas":
    """Draw panels into one matplotlib figure, two in a row, or three if that leaves no gap."""
    from matplotlib.figure import Figure as Canvas

    wide = any(panel.wide for panel in panels)
    with _style():
        across = 1 if wide else 3 if len(panels) % 3 == 0 else min(2, len(panels))
        down = -(-len(panels) // across)
        width, height = WIDE if wide else PANEL
        canvas = Canvas(figsize=(width * across, height * down), layout="constrained")
        places = list(canvas.subplots(down, across, squeeze=False).flat)
        for axes, panel in zip(places, panels, strict=False):
            _draw(axes, panel)
        for axes in places[len(panels) :]:
            axes.set_axis_off()
        _name_points(
            canvas, [(axes, p) for axes, p in zip(places, panels, strict=False) if isinstance(p, Scatter)]
        )
        return canvas


def _draw(axes: "Axes", panel: Panel | Scatter) -> None:
    draw_scatter(axes, panel) if isinstance(panel, Scatter) else _draw_panel(axes, panel)


def _name_points(canvas: "Canvas", drawn: Sequence[tuple["Axes", Scatter]]) -> None:
    """Names go beside points, whose places on the paper must be settled first."""
    if not drawn:
        return
    canvas.draw_without_rendering()
    for axes, panel in drawn:
        name_points(axes, panel)


def _draw_panel(axes: "Axes", panel: Panel) -> None:
    points = sorted({x for curve in panel.curves for x in curve.x})
    colours = (ordered if panel.palette == "ordered" else distinct)(len(panel.curves))
    for at, (curve, colour) in enumerate(zip(panel.curves, colours, strict=True)):
        _draw_curve(axes, curve, _places(panel, curve, points), colour, MARKERS[at % len(MARKERS)], panel.spread)
    if len(panel.curves) == 1 and panel.spread == "bars":
        _draw_seeds(axes, panel, points, colours[0])
    _draw_axes(axes, panel, points)
    if len(panel.curves) > 1:
        _label_ends(axes, panel, points, colours)


def _places(panel: Panel, curve: Curve, points: Sequence[float]) -> list[float]:
    """Where the curve's points stand; bars on an even scale stand beside each other, not on each other."""
    if panel.x_scale != "even":
        return list(curve.x)
    count = len(panel.curves)
    aside = (panel.curves.index(curve) - (count - 1) / 2) * min(0.08, 0.5 / count)
    return [points.index(x) + aside * (panel.spread == "bars") for x in curve.x]


def _draw_curve(axes: "Axes", curve: Curve, x: Sequence[float], colour: str, marker: str, spread: str) -> None:
    known = [(at, found) for at, found in zip(x, curve.intervals, strict=True) if found]
    where, means = [at for at, _ in known], [found.value for _, found in known]
    sure = [(at, found) for at, found in known if found.seeds > 1]
    ends = [at for at, _ in sure], [found.low for _, found in sure], [found.high for _, found in sure]
    if spread == "band":
        axes.fill_between(*ends, color=colour, alpha=0.16, linewidth=0)
        axes.plot(where, means, color=colour)
        return
    axes.vlines(*ends, color=colour, linewidth=1.4, alpha=0.75)
    axes.plot(where, means, color=colour)
    broken = [lost for lost, found in zip(curve.broken, curve.intervals, strict=True) if found]
    for hollow in (False, True):
        chosen = [(at, mean) for at, mean, lost in zip(where, means, broken, strict=True) if lost == hollow]
        fill = LIGHT["paper"] if hollow else colour
        xs, ys = _columns(chosen)
        axes.plot(xs, ys, color=colour, linestyle="none", marker=marker, markerfacecolor=fill)


def _draw_seeds(axes: "Axes", panel: Panel, points: Sequence[float], colour: str) -> None:
    aside = -0.14 if panel.x_scale == "even" else 0.0
    (curve,) = panel.curves
    places = zip(_places(panel, curve, points), curve.values, strict=True)
    xs, ys = _columns([(at + aside, value) for at, seeds in places for value in seeds])
    axes.plot(xs, ys, linestyle="none", marker="o", markersize=3, color=colour, alpha=0.4, mew=0)


def _draw_axes(axes: "Axes", panel: Panel, points: Sequence[float]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_yscale(panel.y_scale)
    axes.set(ylabel=panel.y_label, title=panel.title)
    if panel.y_scale == "log":
        _draw_decades(axes.yaxis)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5))
    if panel.x_names:
        axes.set_xticks(points, panel.x_names, rotation=30, ha="right")
        axes.set_xlabel(panel.x_label)
        return
    if panel.x_scale == "even":
        axes.set_xticks(range(len(points)), [number(point) for point in points])
        axes.set_xlim(-0.4, len(points) - 0.6)
        axes.set_xlabel(f"{panel.x_label}, evenly spaced")
        return
    axes.set_xscale(panel.x_scale)
    axes.set_xlabel(panel.x_label)
    if panel.x_scale == "log":
        _draw_decades(axes.xaxis)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=all(x == int(x) for x in points)))


def _draw_decades(axis: "Axis") -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = axis.get_data_interval()
    few = high < FEW_DECADES * low
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,), numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axis.set_minor_locator(NullLocator())


def _label_ends(axes: "Axes", panel: Panel, points: Sequence[float], colours: Sequence[str]) -> None:
    """Name every curve at its right end, moved apart where the ends are close."""
    axes.autoscale_view()
    ends: list[tuple[float, float, float, str, str]] = []
    for curve, colour in zip(panel.curves, colours, strict=True):
        known = [at for at, found in enumerate(curve.intervals) if found]
        means = [found.value for found in curve.intervals if found]
        place = _places(panel, curve, points)[known[-1]] if known else 0.0
        ends += [(_height(axes, means[-1]), place, means[-1], curve.label, colour)] if known else []
    ends.sort()
    for height, (_, x, y, label, colour) in zip(_apart([end[0] for end in ends], 0.08), ends, strict=True):
        leader = {"arrowstyle": "-", "color": colour, "linewidth": 0.9, "shrinkA": 2, "shrinkB": 4}
        axes.annotate(
            label,
            xy=(x, y),
            xytext=(1.05, height),
            textcoords="axes fraction",
            arrowprops={**leader, "relpos": (0, 0.5)},
            va="center",
            annotation_clip=False,
        )


def _height(axes: "Axes", value: float) -> float:
    return float(axes.transAxes.inverted().transform(axes.transData.transform((0, value)))[1])


def _apart(heights: Iterable[float], gap: float) -> list[float]:
    """Ascending positions, moved so that neighbours are ``gap`` apart, staying as near as they can."""
    found: list[float] = []
    for height in heights:
        found.append(max(height, found[-1] + gap) if found else height)
    ceiling = 1.02
    for at in reversed(range(len(found))):
        found[at] = min(found[at], ceiling)
        ceiling = found[at] - gap
    return found


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _style(fonttype: str = "path") -> AbstractContextManager[Any]:
    import matplotlib.style

    return matplotlib.style.context(["default", {**RC, "svg.fonttype": fonttype}])


def _bytes(canvas: "Canvas", kind: str, facecolor: str) -> bytes:
    undated = {"Date": None} if kind == "svg" else {"CreationDate": None}
    file = io.BytesIO()
    canvas.savefig(file, format=kind, facecolor=facecolor, metadata=undated)
    return file.getvalue()
