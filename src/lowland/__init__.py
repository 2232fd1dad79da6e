"""lowland: steer, and measure, which solution training finds.

The front page. Everything is imported when first used, so ``import lowland`` itself costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lowland.blocks.mask import no_bias, no_norm, norm_only
    from lowland.blocks.radius import Cosine, ProportionalToLearningRate, WarmUp
    from lowland.engine.method import Method
    from lowland.engine.objective import objective
    from lowland.engine.request import ball
    from lowland.methods.asam import ASAM
    from lowland.methods.every import Every
    from lowland.methods.gsam import GSAM
    from lowland.methods.msam import MSAM
    from lowland.methods.sam import SAM
    from lowland.methods.sam_on import SAMON
    from lowland.methods.sgd import SGD
    from lowland.observe.measure import measure
    from lowland.train.fit import fit

__all__ = [
    "ASAM",
    "GSAM",
    "MSAM",
    "SAM",
    "SAMON",
    "SGD",
    "Cosine",
    "Every",
    "Method",
    "ProportionalToLearningRate",
    "WarmUp",
    "ball",
    "fit",
    "measure",
    "no_bias",
    "no_norm",
    "norm_only",
    "objective",
]

HOMES = {
    "lowland.blocks.mask": ("no_bias", "no_norm", "norm_only"),
    "lowland.blocks.radius": ("Cosine", "ProportionalToLearningRate", "WarmUp"),
    "lowland.engine.method": ("Method",),
    "lowland.engine.objective": ("objective",),
    "lowland.engine.request": ("ball",),
    "lowland.methods.asam": ("ASAM",),
    "lowland.methods.every": ("Every",),
    "lowland.methods.gsam": ("GSAM",),
    "lowland.methods.msam": ("MSAM",),
    "lowland.methods.sam": ("SAM",),
    "lowland.methods.sam_on": ("SAMON",),
    "lowland.methods.sgd": ("SGD",),
    "lowland.observe.measure": ("measure",),
    "lowland.train.fit": ("fit",),
}


def __getattr__(name: str) -> object:
    for home, names in HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'lowland' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
