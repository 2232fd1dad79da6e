"""Panels that studies over radii and layers share."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lowland.report.figure import Curve, Panel
from lowland.report.radii import layers

if TYPE_CHECKING:
    from lowland.types import Row

__all__ = ["against_rho", "by_layer", "rank_over_training"]


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
