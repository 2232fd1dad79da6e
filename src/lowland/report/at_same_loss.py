"""What SAM's runs are like beside plain ones that had the same training loss."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lowland.report.shape import at_level

if TYPE_CHECKING:
    from lowland.types import Row

__all__ = ["at_same_loss"]


def at_same_loss(runs: "Sequence[Row]", plain: "Sequence[Row]", quantity: str) -> "list[Row]":
    """For every run its quantity, and that of the plain run of its seed when that had the run's training loss.

    Where the plain run never got as low, its last look counts. A run whose loss is above the plain one's first
    look, or which has no plain one, has no such moment and is left out.

    Args:
        runs: The last look at each run of SAM, with ``rho``, ``seed``, ``train_loss`` and the quantity.
        plain: All looks at plain runs, in order of time, with ``seed``, ``train_loss`` and the quantity.
        quantity: Name of a column.

    Returns:
        Rows with ``rho`` and ``seed``, the run's own value as ``sam`` and the plain run's as ``other``.

    Example:
        >>> plain = [{"seed": 0, "train_loss": loss, "rank": 10 * loss} for loss in (2.0, 1.0)]
        >>> at_same_loss([{"rho": 0.1, "seed": 0, "train_loss": 1.5, "rank": 9.0}], plain, "rank")
        [{'rho': 0.1, 'seed': 0, 'sam': 9.0, 'other': 15.0}]
    """
    found = []
    for row in runs:
        looks = [look for look in plain if look["seed"] == row["seed"]]
        if not looks or row["train_loss"] > looks[0]["train_loss"]:
            continue
        losses, values = ([look[name] for look in looks] for name in ("train_loss", quantity))
        level = at_level(losses, values, row["train_loss"])
        other = values[-1] if level is None else level
        found.append({"rho": row["rho"], "seed": row["seed"], "sam": row[quantity], "other": other})
    return found
