"""Under which names rows keep what was measured."""

from collections.abc import Iterable

from lowland.observe.reading import Reading

__all__ = ["columns"]


def columns(readings: Iterable[Reading]) -> dict[str, float]:
    """What rows keep of some readings, by column; errors are in percent, ``rank/NAME`` belongs to the layer NAME.

    Example:
        >>> columns([Reading(name="accuracy", value=0.75, settings={"split": "test"})])
        {'test_error': 25.0}
    """
    return dict(pair for reading in readings for pair in _column(reading))


def _column(reading: Reading) -> list[tuple[str, float]]:
    """The reading under the name that rows use, if rows keep it."""
    split = reading.settings["split"]
    site = f"/{reading.site}" if reading.site else ""
    kept = {
        "feature_rank": "rank",
        "effective_rank": "effective_rank",
        "stable_rank": "stable_rank",
        "density": "density",
        "dead_units": "dead_units",
        "distinct_units": "distinct_units",
        "nll": f"{split}_loss",
        "ece": f"{split}_ece",
        "loss_gap": "loss_gap",
    }
    if reading.name in kept:
        return [(kept[reading.name] + site, reading.value)]
    if reading.name == "accuracy":
        return [(f"{split}_error", 100 * (1 - reading.value))]
    return [(f"knn_error{site}", 100 * (1 - reading.value))] if reading.name == "knn_accuracy" else []
