"""Weights from a file or folder of anybody's, into a model."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from lowland.train import checkpoint

__all__ = ["load_weights"]

NESTED = ("state_dict", "model_state_dict", "model")
"""Where others keep a model's state dict inside a checkpoint."""


def load_weights(path: str | Path, model: nn.Module) -> None:
    """Copy weights into ``model``.

    Args:
        path: A folder that :func:`lowland.fit` saved, a ``.safetensors`` file, or a file of ``torch.save`` with a
            state dict, also inside a checkpoint under ``state_dict``, ``model_state_dict`` or ``model``.
        model: The model that they belong to.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If the file is damaged, holds no state dict, or one of another model; nothing is changed then.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"The checkpoint must exist, got {path}: no such file or folder.")
    if path.is_dir():
        checkpoint.load(path, model)
        return
    weights = _read(path)
    own = model.state_dict()
    odd = sorted(n for n in {*own, *weights} if _shape(own.get(n)) != _shape(weights.get(n)))
    if odd:
        there, here = _shape(weights.get(odd[0])), _shape(own.get(odd[0]))
        raise ValueError(
            f"The checkpoint {path} must be of this model, got one of another: {odd[0]} is {there} there and "
            f"{here} here ({len(odd)} such). Give the model that was saved."
        )
    model.load_state_dict(weights)


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return safetensors.torch.load_file(path)
    try:
        held: Any = torch.load(path, weights_only=True, map_location="cpu")
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise ValueError(
            f"The checkpoint {path} must be a state dict saved with torch.save, got a file that does not load as "
            f"weights alone ({type(error).__name__}). Save net.state_dict(), not net."
        ) from error
    for name in NESTED:
        held = held[name] if isinstance(held, Mapping) and isinstance(held.get(name), Mapping) else held
    if not isinstance(held, Mapping) or not all(isinstance(value, Tensor) for value in held.values()):
        raise ValueError(f"The checkpoint {path} must hold a state dict, got {type(held).__name__}.")
    return {str(name).removeprefix("module.").replace("_orig_mod.", ""): value for name, value in held.items()}


def _shape(value: Tensor | None) -> str:
    return "missing" if value is None else str(tuple(value.shape))
