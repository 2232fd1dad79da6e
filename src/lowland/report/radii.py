"""Effects over a grid of radii: what claims about rho look at, layer by layer and recipe by recipe.

Rows have ``recipe``, ``rho``, ``seed``, ``final``, ``diverged``, ``classes``, ``train_error`` in percent, and
quantities of a layer under ``quantity/layer``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from lowland.report.effect import Effect, sentences
from lowland.report.grid import Grid, IncompleteError
from lowland.report.interval import Interval, paired
from lowland.report.shape import dip, trend

if TYPE_CHECKING:
    from lowland.types import Row

__all__ = [
    "best_less",
    "effect",
    "falls_with_rho",
    "final",
    "guessing",
    "judged",
    "layers",
    "left_out",
    "recipes",
    "u_shaped",
    "unlearnt",
]

Side = Literal["above", "below", "within"]


def layers(rows: "Iterable[Row]") -> tuple[str, ...]:
    """The names of the layers that were measured, in the model's order."""
    names = (key.removeprefix("rank/") for row in rows for key in row if key.startswith("rank/"))
    return tuple(dict.fromkeys(names))


def recipes(rows: "Sequence[Row]") -> list[str]:
    """The recipes, in their order."""
    return list(dict.fromkeys(row["recipe"] for row in rows))


def final(rows: "Sequence[Row]", recipe: str) -> "list[Row]":
    """The last row of every run of a recipe."""
    return [row for row in rows if row["final"] and row["recipe"] == recipe]


def unlearnt(rows: "Sequence[Row]", recipe: str) -> list[float]:
    """Radii at which the networks of a recipe did not learn; see :func:`guessing`."""
    return guessing(final(rows, recipe))


def guessing(last: "Sequence[Row]") -> list[float]:
    """Radii at which networks did not learn: mean training error above half of what guessing gives.

    Args:
        last: The last row of every run.
    """
    sound = [row for row in last if not row["diverged"]]
    radii = sorted({row["rho"] for row in sound})
    excess = {
        rho: fmean(row["train_error"] - 50 * (1 - 1 / row["classes"]) for row in sound if row["rho"] == rho)
        for rho in radii
    }
    return [rho for rho in radii if excess[rho] > 0]


def left_out(radii: Sequence[float]) -> str:
    """A sentence about radii that carry no verdict; empty if there are none.

    Example:
        >>> left_out([0.4, 0.8])
        'Left out, because networks did not learn there: rho 0.4, 0.8.'
    """
    words = ", ".join(f"{rho:g}" for rho in radii)
    return f"Left out, because networks did not learn there: rho {words}." if words else ""


def judged(rows: "Sequence[Row]", recipe: str) -> "list[Row]":
    """The last row of every run that a verdict may rest on: at radii at which networks learn.

    Raises:
        IncompleteError: If they learn at none.
    """
    out = unlearnt(rows, recipe)
    found = [row for row in final(rows, recipe) if row["rho"] not in out]
    if not found or not layers(rows):
        raise IncompleteError("At no rho did networks learn; they diverged, or guess.")
    return found


def best_less(rows: "Sequence[Row]", quantity: str, rho: float) -> Interval:
    """A quantity at the radius with the lowest test error less that at another radius, paired by seed.

    Args:
        rows: The last row of every run, such as :func:`judged` gives.
        quantity: Name of a column.
        rho: The other radius.

    Returns:
        The interval; :func:`lowland.report.shape.dip` chooses the best radius for each seed by the others.

    Raises:
        IncompleteError: If there is none to choose.
    """
    errors, grid = Grid.of(rows, "test_error"), Grid.of(rows, quantity)
    best = dict(zip(errors.seeds, dip(errors).chosen, strict=True))
    there = [grid.column(best[seed])[at] for at, seed in enumerate(grid.seeds)]
    return replace(paired(there, grid.column(rho)), doubt=grid.doubt)


def effect(
    rows: "Sequence[Row]", recipe: str, name: str, size: Interval, expected: Side, unit: str = "", note: str = ""
) -> Effect:
    """An effect that says its recipe, where there are several, and which radii were left out."""
    named = name if len(recipes(rows)) == 1 else f"{recipe}: {name}"
    left = left_out(unlearnt(rows, recipe))
    return Effect.of(named, size, expected, unit=unit, note=sentences(note, left))


def falls_with_rho(rows: "Sequence[Row]", quantity: str) -> list[Effect]:
    """Spearman correlation of rho and a layer's quantity, for every layer."""
    return [
        effect(rows, recipe, layer, trend(Grid.of(judged(rows, recipe), f"{quantity}/{layer}")), "below")
        for recipe in recipes(rows)
        for layer in layers(judged(rows, recipe))
    ]


def u_shaped(rows: "Sequence[Row]", quantity: str) -> list[Effect]:
    """How much better the best interior radius is than none, and than the largest."""
    effects = []
    for recipe in recipes(rows):
        found = dip(Grid.of(judged(rows, recipe), quantity))
        chosen = ", ".join(f"{rho:g}" for rho in sorted(set(found.chosen)))
        note = f"Best interior rho, chosen for each seed by the others: {chosen}."
        sizes = {"gain over rho = 0": found.fall, "loss at the largest rho": found.rise}
        effects += [effect(rows, recipe, name, size, "above", "points", note) for name, size in sizes.items()]
    return effects
