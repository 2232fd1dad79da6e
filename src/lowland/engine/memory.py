"""What a method remembers from one step to the next, whatever the loss scale of either."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lowland.engine.alone import Alone
from lowland.types import State
from lowland.vector import Vector

__all__ = ["Memory", "Note"]


@dataclass(frozen=True)
class Note:
    """Something remembered, in units of the unscaled loss.

    Attributes:
        value: A vector, or a scalar on the device.
        degree: The power of the loss that its unit holds: 1 for gradients, 2 for their squares, 0 for directions.
    """

    value: Vector | Tensor
    degree: int = 1

    def scaled(self, scale: Tensor | None, sign: int = 1) -> Vector | Tensor:
        """The value in units of a loss that is scaled by ``scale``; back again for ``sign`` -1."""
        return self.value if scale is None or not self.degree else self.value * scale ** (sign * self.degree)


class Memory:
    """The notes of a bound method, by key."""

    def __init__(self, notes: Mapping[str, Note] | None = None) -> None:
        self.notes = dict(notes or {})

    @property
    def tensors(self) -> set[int]:
        """Identities of the tensors that are kept."""
        vectors = [note.value for note in self.notes.values() if isinstance(note.value, Vector)]
        return {id(part) for vector in vectors for part in vector.parts.values()}

    def like(self, leaves: Mapping[str, Tensor]) -> "Memory":
        """The same vectors in the precision and on the device that the weights now have."""
        notes = {key: Note(_cast(note.value, leaves), note.degree) for key, note in self.notes.items()}
        return Memory(notes) if notes else self

    def updated(self, written: Mapping[str, Note]) -> "Memory":
        """With a step's notes; what is not finite leaves what was there before, without waiting for the device."""
        notes = dict(self.notes)
        for key, note in written.items():
            before = self.notes[key].value if key in self.notes else None
            notes[key] = Note(_sound(note.value, before), note.degree)
        return Memory(notes)

    def state_dict(self, parameters: Mapping[str, nn.Parameter], processes: Alone) -> State:
        """The notes, by parameter name, sharded where the parameters are."""
        values = {key: note.value for key, note in self.notes.items()}
        return {
            "memory": {
                key: dict(processes.spread(v.parts, parameters)) if isinstance(v, Vector) else v
                for key, v in values.items()
            },
            "degrees": {key: note.degree for key, note in self.notes.items()},
            "remembers": len(self.notes),
        }

    @classmethod
    def of(cls, state: Mapping[str, Any], parameters: Mapping[str, nn.Parameter], processes: Alone) -> "Memory":
        """The memory that ``state_dict`` described, whether whole or sharded in whatever way.

        Raises:
            ValueError: If it names parameters that there are not, or of another shape, or is not complete.
        """
        if len(state["memory"]) < state["remembers"]:
            raise ValueError(
                f"The state must hold all {state['remembers']} things that the method remembers, got "
                f"{len(state['memory'])}: load a distributed checkpoint by lowland.engine.resume.resume."
            )
        strangers = {
            name
            for parts in state["memory"].values()
            if isinstance(parts, Mapping)
            for name, part in parts.items()
            if name not in parameters or part.shape != parameters[name].shape
        }
        if strangers:
            raise ValueError(f"The state must fit the model, got memory of {', '.join(sorted(strangers))}.")
        first = next(iter(parameters.values()))
        notes = {}
        for key, value in state["memory"].items():
            if isinstance(value, Mapping):
                own = {n: processes.cut(part, parameters[n]) for n, part in value.items()}
                own = {n: part.to(parameters[n].device, copy=True) for n, part in own.items()}
                value = Vector(own, processes.total)
            else:
                value = value.to(first.device, copy=True)
            notes[key] = Note(value, int(state["degrees"][key]))
        return cls(notes)


def _cast(value: Vector | Tensor, leaves: Mapping[str, Tensor]) -> Vector | Tensor:
    if isinstance(value, Tensor):
        return value
    return Vector({name: part.to(leaves[name]) for name, part in value.parts.items()}, value.total)


def _sound(new: Vector | Tensor, before: Vector | Tensor | None) -> Vector | Tensor:
    """The new value if it is finite, else the one before, or zero."""
    finite = torch.isfinite(new.norm())
    if finite.is_cpu and bool(finite):  # a look costs nothing
        return new
    if isinstance(new, Tensor):
        return torch.where(finite, new, before if isinstance(before, Tensor) else torch.zeros_like(new))
    old = before.parts if isinstance(before, Vector) else {}
    pairs = {name: (part, old.get(name, torch.zeros_like(part))) for name, part in new.parts.items()}
    return Vector({name: torch.where(finite, part, was) for name, (part, was) in pairs.items()}, new.total)
