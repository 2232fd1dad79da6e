"""How much of each layer is in use: active units, copies of others left out."""

from collections.abc import Sequence

from torch import nn

from lowland.measurements.activation_sparsity import ActivationSparsity
from lowland.measuring.measure import measure
from lowland.types import Batches

__all__ = ["units_in_use"]

COPY = 0.99
"""Correlation beyond which a unit is a copy of another."""


def units_in_use(model: nn.Module, batches: Batches, layers: Sequence[str] | None = None) -> dict[str, float]:
    """The share of each layer's units that are active on an example and no copies of another, mean over examples.

    As the authors of *SGD with large step sizes learns sparse features* count: of copies the last remains, and the
    share is one of all units, in [0, 1].

    Args:
        model: Any module.
        batches: Of inputs and targets.
        layers: Names of layers; None: the model's own choice, else every activation and layer with parameters.

    Raises:
        ValueError: If a layer has more units than copies are looked for among.
    """
    chosen = None if layers is None else tuple(layers)
    found = measure(model, None, batches, ActivationSparsity(duplicates=COPY, layers=chosen))
    sites = {reading.site: reading.settings for reading in found}
    wide = [site for site, settings in sites.items() if settings["duplicates"] is None]
    if wide:
        raise ValueError(
            f"model must have layers of at most 4096 units, got more in {', '.join(wide)}: choose a narrower one."
        )
    values = {(reading.site, reading.name): reading.value for reading in found}
    return {
        site: values[site, "distinct_density"] * (1 - values[site, "duplicate_units"] / settings["width"])
        for site, settings in sites.items()
    }
