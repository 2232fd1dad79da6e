"""What a training run is, as plain JSON: a checkpoint of another one is refused by its first difference."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from lowland.train.epochs import Epochs
from lowland.train.hooks import Hook
from lowland.train.setup import Setup
from lowland.train.streams import remember, restore

__all__ = ["difference", "identity"]

OVERRULED = {
    "optimizer": ("optimizer", "learning_rate", "momentum", "weight_decay"),
    "scheduler": ("schedule", "warmup"),
    "criterion": ("label_smoothing",),
    "engine": ("method",),
}


def identity(setup: Setup, batches: Epochs, hooks: Sequence[Hook] = ()) -> dict[str, Any]:
    """What the numbers of a run depend on: recipe, own parts, architecture, data, hooks, kind of device.

    Own parts count by their class and their plain settings, hooks by their name (or ``repr``), data by the
    number of batches and the bytes of the first one. To be called before training, when the parts are as
    they were made.
    """
    return {
        "recipe": _recipe(setup),
        "method": _text(setup.engine.method),
        "parts": _parts(setup),
        "model": repr(setup.model).splitlines(),
        "data": {"batches": len(batches), "first batch": _first_batch(batches, setup.device)},
        "hooks": [_text(hook) for hook in hooks],
        "device": setup.device.type,
    }


def difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str | None:
    """The first thing in which two identities differ, as words; None if they are the same.

    Example:
        >>> difference({"recipe": {"epochs": 3}}, {"recipe": {"epochs": 5}})
        'recipe.epochs was 3 and is 5'
    """
    old, new = dict(_flat(there)), dict(_flat(here))
    for name in (*old, *new):
        if old.get(name, "absent") != new.get(name, "absent"):
            return f"{name} was {old.get(name, 'absent')} and is {new.get(name, 'absent')}"
    return None


def _recipe(setup: Setup) -> dict[str, Any]:
    overruled = {
        name for part, names in OVERRULED.items() if getattr(setup.parts, part) is not None for name in names
    }
    return {
        name: getattr(setup.recipe, name)
        for name in vars(setup.recipe)
        if name not in overruled and name != "method"
    }


def _parts(setup: Setup) -> dict[str, Any]:
    parts, found = setup.parts, {}
    if parts.optimizer is not None:
        found["optimizer"] = _settings(parts.optimizer)
    if parts.scheduler is not None:
        found["scheduler"] = {**_settings(parts.scheduler), "every": parts.scheduler_every}
    if parts.criterion is not None:
        found["criterion"] = _text(parts.criterion)
    if parts.engine is not None:
        found["engine"] = asdict(parts.engine.policy)
    if parts.penalties:
        found["penalties"] = [_text(getattr(one, "penalty", one)) for one in parts.penalties]
    return found


def _settings(part: Any) -> dict[str, Any]:  # noqa: ANN401 - an optimiser or a scheduler
    """Its class, and the numbers and words of its state before training."""
    state = part.state_dict()
    plain = state.get("param_groups", state)
    return {"class": type(part).__name__, "settings": _plain(plain)}


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    return value if isinstance(value, str | int | float | bool | None) else _text(value)


def _text(value: object) -> str:
    """Its repr without the addresses in memory, which differ from process to process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _flat(one, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        yield from _flat({str(i): one for i, one in enumerate(value)}, name)
    else:
        yield name, value


def _first_batch(batches: Epochs, device: torch.device) -> str:
    """A digest of the first batch of the first epoch; drawing it disturbs no random stream."""
    streams = remember(device)
    batch = next(iter(batches.epoch(0)))
    restore(streams, device)
    digest = hashlib.sha256()
    for tensor in pytree.tree_leaves(batch):
        if isinstance(tensor, Tensor):
            digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
