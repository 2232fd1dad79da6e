"""A checkpoint: weights and state in a folder, whole or refused."""

import io
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from lowland.train import manifest
from lowland.types import State

__all__ = ["Checkpoint", "load", "read", "save"]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a folder held, verified, on the CPU.

    Attributes:
        folder: Where it came from.
        weights: The model's tensors by their names in its state dict.
        state: What was saved beside the weights.
        about: What it is a checkpoint of: plain JSON, for people and for comparison.
        rest: What the model holds that is no tensor of its state dict (non-persistent buffers, extra state).
    """

    folder: Path
    weights: dict[str, Tensor]
    state: State
    about: Mapping[str, Any]
    rest: State = field(default_factory=dict)

    def restore(self, model: nn.Module) -> None:
        """Copy the weights into ``model``, in place; each tensor keeps its device.

        Raises:
            ValueError: If the model has other names, shapes or types of weights; nothing is changed then.
        """
        self.refuse_another(model)
        model.load_state_dict({**self.weights, **self.rest["extra"]})
        buffers = dict(model.named_buffers())
        with torch.no_grad():
            for name, kept in self.rest["buffers"].items():
                buffers[name].copy_(kept)

    def refuse_another(self, model: nn.Module) -> None:
        """Refuse a model whose tensors have other names, shapes or types than the checkpoint's.

        Raises:
            ValueError: If it has; names the first difference.
        """
        here, extra, buffers = _contents(model)
        there = {**self.weights, **self.rest["buffers"], **dict.fromkeys(self.rest["extra"], "extra state")}
        here = {**here, **buffers, **dict.fromkeys(extra, "extra state")}
        for name in (*here, *there):
            old, new = _shown(there.get(name)), _shown(here.get(name))
            if old != new:
                raise ValueError(
                    f"The checkpoint in {self.folder} must be of this model, got one of another: {name} is "
                    f"{old} there and {new} here. Use the model that was saved, or another folder."
                )


def save(folder: str | Path, model: nn.Module, state: State, about: Mapping[str, Any] | None = None) -> None:
    """Write ``model``'s weights and ``state`` into ``folder``, replacing the checkpoint there.

    The weights go into a safetensors file that any tool can read, the state into a ``torch.save`` file that
    loads with ``weights_only=True``, and ``manifest.json`` names both with their SHA-256. The manifest is
    replaced last, in one stroke: killed or out of disk at any moment, the checkpoint before stays whole.

    Args:
        folder: Made if missing; other files in it are left alone.
        model: Any module.
        state: Tensors, numbers, strings and containers of those.
        about: What this is a checkpoint of; plain JSON.

    Raises:
        TypeError: If the state holds something that could only be loaded by running code.
        OSError: If it cannot be written; the checkpoint before is still whole.

    Cost:
        Disk for two checkpoints while it writes; a copy of the weights and the state in memory.

    Example:
        >>> import tempfile
        >>> model = nn.Linear(2, 1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(folder, model, {"step": 7})
        ...     load(folder, nn.Linear(2, 1))
        {'step': 7}
    """
    tensors, extra, buffers = _contents(model)
    rest = {"extra": extra, "buffers": buffers}
    weights = safetensors.torch.save(_apart(tensors))
    manifest.commit(Path(folder), {"weights": weights, "state": _packed([state, rest])}, about or {})


def read(folder: str | Path) -> Checkpoint:
    """The checkpoint in ``folder``, verified against its digests.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If a file is missing, truncated, changed or not ours; names the file.
    """
    folder = Path(folder)
    contents, about = manifest.verified(folder)
    state, rest = torch.load(io.BytesIO(contents["state"]), weights_only=True, map_location="cpu")
    weights = safetensors.torch.load(contents["weights"])
    return Checkpoint(folder=folder, weights=weights, state=state, about=about, rest=rest)


def load(folder: str | Path, model: nn.Module) -> State:
    """Copy the weights in ``folder`` into ``model`` and return the state saved with them.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        ValueError: If it is damaged or of another model; the model is unchanged then.
    """
    checkpoint = read(folder)
    checkpoint.restore(model)
    return checkpoint.state


def _contents(model: nn.Module) -> tuple[dict[str, Tensor], State, dict[str, Tensor]]:
    """The tensors of the state dict, what else is in it, and the buffers that it leaves out."""
    entries = model.state_dict()
    tensors = {name: value.detach() for name, value in entries.items() if isinstance(value, Tensor)}
    extra = {name: value for name, value in entries.items() if name not in tensors}
    buffers = {name: value.detach() for name, value in model.named_buffers() if name not in tensors}
    return tensors, extra, buffers


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous, on the CPU, and no two in one storage: tied weights are written once per name."""
    seen: set[int] = set()
    apart = {}
    for name, tensor in tensors.items():
        flat = tensor.cpu().contiguous()
        storage = flat.untyped_storage().data_ptr()
        apart[name] = flat.clone() if storage in seen else flat
        seen.add(storage)
    return apart


def _packed(state: Any) -> bytes:  # noqa: ANN401 - whatever torch.save takes
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    try:
        torch.load(file, weights_only=True)
    except pickle.UnpicklingError as error:
        kind = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise TypeError(
            f"state must hold only tensors, numbers, strings and containers of those, got "
            f"{kind[1] if kind else 'something else'}, which could only be loaded by running code."
        ) from error
    return file.getvalue()


def _shown(value: Tensor | str | None) -> str:
    if value is None:
        return "missing"
    return f"{tuple(value.shape)} {value.dtype}" if isinstance(value, Tensor) else value
