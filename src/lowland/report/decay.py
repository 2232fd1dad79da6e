"""How fast a norm falls over training, run by run, beside what is predicted for it."""

import math
from collections.abc import Callable, Sequence
from statistics import linear_regression
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lowland.types import Row

__all__ = ["after_fit", "falls", "shares"]

FITTED = 0.1
"""Share of training after which a network fits its target."""

ABOVE = 3
"""How many times its floor a norm must be where slopes are taken."""


def falls(rows: "Sequence[Row]") -> "list[Row]":
    """One row per run: slope and depth of the fall of ``irrelevant``, in logarithms.

    Args:
        rows: Looks at runs, told apart by ``method`` and ``seed``, in order of ``step``, with the norm
            ``irrelevant``, the predicted ``rate`` of its fall per step or None, and its ``floor``.

    Returns:
        ``over`` is the fitted over the predicted rate and ``off`` that less 1, both None where nothing is
        predicted or fewer than three looks after the fit are well above the floor; ``fall`` is how far the
        logarithm falls from the fit to the end, and ``end`` where it ends. A run that diverged says only so.

    Example:
        >>> shown = {"method": "sgd", "seed": 0, "rate": 0.1, "floor": 0.0, "diverged": False}
        >>> row, = falls([{**shown, "step": t, "irrelevant": math.exp(-0.2 * t)} for t in range(11)])
        >>> round(row["over"], 9), round(row["fall"], 9)
        (2.0, 1.8)
    """
    return [{"method": name, "seed": seed, **_fall(mine)} for (name, seed), mine in _runs(rows).items()]


def shares(rows: "Sequence[Row]", kept: "Callable[[Sequence[Row]], Sequence[Row]]" = list) -> "list[Row]":
    """Looks at runs, with ``share``, the norm over that at a run's first look.

    Args:
        rows: As :func:`falls` takes them; those that say they diverged are left out.
        kept: Chooses looks of a run, such as :func:`after_fit`.

    Returns:
        The looks that are kept, run by run.
    """
    looks = [kept(mine) for mine in _runs([row for row in rows if not row["diverged"]]).values()]
    return [{**row, "share": row["irrelevant"] / mine[0]["irrelevant"]} for mine in looks for row in mine]


def after_fit(mine: "Sequence[Row]") -> "list[Row]":
    """The looks of one run from when the target is fitted, a tenth of training."""
    return [row for row in mine if row["step"] >= FITTED * mine[-1]["step"]]


def _runs(rows: "Sequence[Row]") -> "dict[tuple[str, int], list[Row]]":
    found: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        found.setdefault((row["method"], row["seed"]), []).append(row)
    return found


def _fall(mine: "Sequence[Row]") -> "Row":
    if any(row["diverged"] for row in mine):
        return {"diverged": True}
    late = after_fit(mine)
    logs = [math.log(row["irrelevant"]) for row in late]
    above = [i for i, row in enumerate(late) if row["irrelevant"] > ABOVE * row["floor"]]
    over = None
    if late[0]["rate"] and len(above) > 2:
        fitted = linear_regression([late[i]["step"] for i in above], [logs[i] for i in above])
        over = -fitted.slope / late[0]["rate"]
    off = None if over is None else over - 1
    return {"diverged": False, "over": over, "off": off, "fall": logs[0] - logs[-1], "end": logs[-1]}
