"""The random streams that training may draw from, in a form that a checkpoint can hold."""

import random

import numpy as np
import torch

from lowland.engine.randomness import Randomness
from lowland.types import State

__all__ = ["remember", "restore"]


def remember(device: torch.device) -> State:
    """The states of PyTorch's generators (CPU and ``device``), Python's and NumPy's."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    return {
        "torch": Randomness([device]).state(),
        "python": random.getstate(),
        "numpy": (kind, np.asarray(keys).tolist(), *rest),
    }


def restore(state: State, device: torch.device) -> None:
    """Go on drawing where :func:`remember` was called."""
    Randomness([device]).set(state["torch"])
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    np.random.set_state(tuple(state["numpy"]))
