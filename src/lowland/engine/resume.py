"""Loads what a method remembers from a distributed checkpoint."""

import os

import torch
from torch import Tensor
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from lowland.engine.bind import Engine
from lowland.types import State

__all__ = ["resume"]


def resume(engine: Engine, checkpoint: dcp.StorageReader | str | os.PathLike[str], *, key: str = "method") -> None:
    """Load the state that ``dcp.save({key: engine, ...}, checkpoint_id=checkpoint)`` wrote.

    ``dcp.load`` only fills tensors that are there, and a fresh engine remembers none yet; this looks up what the
    checkpoint holds. All processes must call it. Processes that ascend together may be of another number than
    those that saved; those that ascend by themselves save ``engine.state_dict(gathered=True)``, not the engine.

    Args:
        engine: The method, bound as the one that was saved.
        checkpoint: The folder, or a reader of another kind of storage.
        key: The name of the engine in what was saved.

    Raises:
        ValueError: If there is nothing of that name, or it does not fit the engine.
    """
    reader = checkpoint if isinstance(checkpoint, dcp.StorageReader) else dcp.FileSystemReader(checkpoint)
    metadata = reader.read_metadata()
    state: State = {"memory": {}, "degrees": {}}
    paths = metadata.planner_data or {}
    if (names := {path[0] for path in paths.values()}) and key not in names:
        raise ValueError(
            f"The checkpoint must hold the engine's state as {key!r}, got one with {', '.join(names)}."
        )
    for name, (first, *path) in paths.items():
        if first == key:
            stored = metadata.state_dict_metadata[name]
            _put(
                state,
                path,
                _blank(engine, path[-1], stored) if isinstance(stored, TensorStorageMetadata) else None,
            )
    dcp.load({key: state}, storage_reader=reader)
    engine.load_state_dict(state)


def _blank(engine: Engine, name: str, stored: TensorStorageMetadata) -> Tensor:
    """A tensor to be filled: laid out like the parameter that it belongs to, if it does."""
    parameters, processes = engine._subject.parameters, engine._subject.processes
    if name not in parameters or parameters[name].shape != stored.size:
        return torch.empty(stored.size, dtype=stored.properties.dtype)
    blank = torch.empty_like(processes.local(parameters[name]), dtype=stored.properties.dtype)
    return processes.spread({name: blank}, parameters)[name]


def _put(state: State, path: list[str], value: Tensor | None) -> None:
    for step in path[:-1]:
        state = state.setdefault(step, {})
    state[path[-1]] = value
