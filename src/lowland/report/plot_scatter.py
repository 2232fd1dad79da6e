"""Draws a scatter: points with their intervals, the front, and a name beside every point."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowland.report.figure import Scatter
from lowland.report.interval import Interval
from lowland.report.labels import Box, place
from lowland.report.number import number
from lowland.report.style import LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_scatter", "name_points"]

SIZE = 7.5
"""Of the names, points."""

ASIDE = 0.013
"""Distance of points that have the same x, as a share of the axis."""

FAR = 4.0
"""Points further above the best than this many times the median are named at the top, not drawn."""


@dataclass(frozen=True)
class Spot:
    """A point as it is drawn."""

    label: str
    x: float
    found: Interval
    front: bool
    broken: bool
    beyond: bool

    @property
    def name(self) -> str:
        """What is written beside it."""
        return f"{self.label} ({number(self.found.value)})" if self.beyond else self.label


def draw_scatter(axes: "Axes", panel: Scatter) -> None:
    """Draw points, intervals, the front and the axes."""
    from matplotlib.ticker import MaxNLocator

    spots = _spots(panel)
    seen = [spot for spot in spots if not spot.beyond]
    front = [spot for spot in seen if spot.front]
    axes.set(xlabel=panel.x_label, ylabel=panel.y_label, title=panel.title)
    axes.plot(*_xy(front), color=LIGHT["c1"], linestyle=(0, (4, 3)), linewidth=1.0)
    for spot in seen:
        colour = LIGHT["c1"] if spot.front else LIGHT["c6"]
        if spot.found.seeds > 1:
            axes.vlines(spot.x, spot.found.low, spot.found.high, color=colour, linewidth=1.0, alpha=0.4)
        face = LIGHT["paper"] if spot.broken else colour
        axes.plot([spot.x], [spot.found.value], marker="o", color=colour, markerfacecolor=face, linestyle="none")
    axes.margins(x=0.06, y=0.08)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_locator(MaxNLocator(8))
    axes.set_ylim(axes.get_ylim())  # from here on they stay
    top = axes.get_ylim()[1]
    beyond = [spot for spot in spots if spot.beyond]
    axes.plot([spot.x for spot in beyond], [top] * len(beyond), "^", color=LIGHT["c8"], clip_on=False)


def name_points(axes: "Axes", panel: Scatter) -> None:
    """Write every point's name near it, once the places of the axes are settled."""
    spots, top = _spots(panel), axes.get_ylim()[1]
    axes.autoscale(False)
    points = [_pixel(axes, spot.x, top if spot.beyond else spot.found.value) for spot in spots]
    texts = [axes.text(0, 0, spot.name, fontsize=SIZE, va="bottom", transform=axes.transAxes) for spot in spots]
    sizes = [(text.get_window_extent().width + 2, text.get_window_extent().height) for text in texts]
    frame = axes.get_window_extent()
    marks = [(x - 4, y - 4, 8.0, 8.0) for x, y in points]
    boxes = place(points, sizes, (frame.x0, frame.y0, frame.width, frame.height), marks + _bars(axes, spots))
    for text, box, point in zip(texts, boxes, points, strict=True):
        text.set_position(_share(axes, (box[0] + 1, box[1])))
        _lead(axes, point, box)


def _spots(panel: Scatter) -> list[Spot]:
    """All points with a mean; those with the same x stand side by side, the best at the left."""
    front = {curve.label for curve in panel.front}
    known = [(curve, found) for curve in panel.curves if (found := curve.intervals[0])]
    means = [found.value for _, found in known]
    reach = FAR * (statistics.median(means) - min(means)) if means else 0.0
    xs = [curve.x[0] for curve, _ in known]
    gap = ASIDE * (max(xs, default=0.0) - min(xs, default=0.0))
    return [
        Spot(
            label=curve.label,
            x=x + gap * _aside(at, xs, means),
            found=found,
            front=curve.label in front,
            broken=curve.broken[0],
            beyond=found.value - min(means) > reach > 0,
        )
        for at, ((curve, found), x) in enumerate(zip(known, xs, strict=True))
    ]


def _aside(at: int, xs: Sequence[float], means: Sequence[float]) -> float:
    same = sorted((i for i, x in enumerate(xs) if x == xs[at]), key=lambda i: (means[i], i))
    return same.index(at) - (len(same) - 1) / 2


def _xy(spots: Sequence[Spot]) -> tuple[list[float], list[float]]:
    ordered = sorted(spots, key=lambda spot: spot.x)
    return [spot.x for spot in ordered], [spot.found.value for spot in ordered]


def _bars(axes: "Axes", spots: Sequence[Spot]) -> list[Box]:
    """What the intervals cover."""
    boxes = []
    for spot in spots:
        if spot.found.seeds > 1 and not spot.beyond:
            (x, low), (_, high) = (_pixel(axes, spot.x, end) for end in (spot.found.low, spot.found.high))
            boxes.append((x - 1, low, 2.0, high - low))
    return boxes


def _lead(axes: "Axes", point: tuple[float, float], box: Box) -> None:
    """A thin line from a point to its name, where they are apart."""
    x = min(max(point[0], box[0]), box[0] + box[2])
    y = min(max(point[1], box[1]), box[1] + box[3])
    if abs(x - point[0]) + abs(y - point[1]) > 9:
        ends = [_share(axes, point), _share(axes, (x, y))]
        line = {"color": LIGHT["soft"], "linewidth": 0.6, "transform": axes.transAxes}
        axes.plot([end[0] for end in ends], [end[1] for end in ends], zorder=1, **line)


def _pixel(axes: "Axes", x: float, y: float) -> tuple[float, float]:
    found = axes.transData.transform((x, y))
    return float(found[0]), float(found[1])


def _share(axes: "Axes", pixel: tuple[float, float]) -> tuple[float, float]:
    found = axes.transAxes.inverted().transform(pixel)
    return float(found[0]), float(found[1])
