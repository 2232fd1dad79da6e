"""Panels and curves that studies share."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lowland.report.figure import Curve, Panel
from lowland.report.radii import layers

if TYPE_CHECKING:
    from lowland.types import Row

__all__ = ["against_rho", "by_layer", "curves_by", "heading", "rank_over_training"]


def curves_by(rows: "Sequence[Row]", by: str, *, x: str, y: str, label: str = "{}") -> tuple[Curve, ...]:
    """A curve for every value of a column, in the order of the rows.

    Args:
        rows: Rows with these columns.
        by: The column; the value takes the place of the braces in ``label``.
        x: Name of the column along the axis.
        y: Name of the column of the outcome.
        label: What a curve is called.

    Example:
        >>> rows = [{"batch": b, "step": t, "norm": b - t} for b in (8, 2) for t in (0, 1)]
        >>> [curve.label for curve in curves_by(rows, "batch", x="step", y="norm", label="batch {}")]
        ['batch 8', 'batch 2']
    """
    values = dict.fromkeys(row[by] for row in rows)
    return tuple(Curve.of(rows, label.format(value), x=x, y=y, where={by: value}) for value in values)


def heading(label: str) -> str:
    """A label as the title of its panel: with a capital, without the unit in brackets at its end.

    Example:
        >>> heading("test error (%)")
        'Test error'
    """
    return re.sub(r" \([^()]*\)$", "", label[:1].upper() + label[1:])


def against_rho(label: str, curves: Sequence[Curve], title: str) -> Panel:
    """A panel over the grid of radii."""
    return Panel(
        x_label="rho", y_label=label, curves=tuple(curves), title=title, x_scale="even", palette="ordered"
    )


def by_layer(rows: "Sequence[Row]", quantity: str) -> list[Curve]:
    """A curve for every layer."""
    return [Curve.of(rows, layer, x="rho", y=f"{quantity}/{layer}") for layer in layers(rows)]


def rank_over_training(rows: "Sequence[Row]", recipe: str, layer: str) -> Panel:
    """Rank of one layer against the epoch, at the epochs that every radius was looked at."""
    mine = [row for row in rows if row["recipe"] == recipe and not row["diverged"]]
    radii = sorted({row["rho"] for row in mine})
    common = set.intersection(*({row["epoch"] for row in mine if row["rho"] == rho} for rho in radii))
    shared = [row for row in mine if row["epoch"] in common]
    curves = [Curve.of(shared, f"rho {rho:g}", x="epoch", y=f"rank/{layer}", where={"rho": rho}) for rho in radii]
    return Panel(
        x_label="epoch",
        y_label="feature rank",
        curves=tuple(curves),
        title=layer,
        x_scale="log",
        palette="ordered",
        spread="band",
    )
