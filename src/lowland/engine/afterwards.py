"""What a method does to the weights besides: a descent that bypasses the optimiser's momentum and scaling."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lowland.engine.alone import Alone
from lowland.engine.memory import Note
from lowland.vector import Vector

__all__ = ["Afterwards"]


class Afterwards:
    """Collects, over the micro-batches of a step, what is to be descended once the optimiser has stepped.

    It belongs to the gradients that are accumulated: when those were cleared without a step, as after one that
    a gradient scaler skipped, it is dropped.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], processes: Alone) -> None:
        self._parameters, self._processes = parameters, processes
        self._pending: Vector | None = None
        self._belongs: tuple[str, Tensor | None, int] = ("", None, 0)

    def begin(self) -> None:
        """Drop what waits if the gradients that it belongs to are no longer there, or were set to zero."""
        name, grad, version = self._belongs
        if self._pending is None:
            return
        if grad is None or self._parameters[name].grad is not grad:
            self._pending = None
        elif grad._version != version:  # clipped, or cleared: told apart without waiting for the device
            there = self._processes.local(grad).any()
            self._pending = self._pending.map(lambda part: torch.where(there, part, torch.zeros_like(part)))

    def add(self, notes: Sequence[Note]) -> None:
        """Add what a micro-batch, whose gradients are in place now, wants descended."""
        for note in notes:
            assert isinstance(note.value, Vector)
            self._pending = note.value if self._pending is None else self._pending + note.value
        if notes and self._pending is not None and self._processes.ranks > 1:
            self._pending = self._combined(self._pending)
        if notes and self._pending is not None and self._pending.parts:
            marks = [(p.numel(), name, p.grad) for name, p in self._parameters.items() if p.grad is not None]
            _, name, grad = min(marks, key=lambda mark: mark[:2])
            self._belongs = (name, grad, grad._version)

    def apply(self, optimizer: Optimizer) -> None:
        """Descend, at the learning rate of each parameter's group."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
        with torch.no_grad():
            sound = torch.isfinite(pending.norm())  # a fused optimiser steps even where its scaler skips
            for name, part in pending.parts.items():
                p = self._parameters[name]
                if id(p) in rates:
                    self._processes.local(p).sub_(torch.where(sound, rates[id(p)] * part, torch.zeros_like(part)))

    def _combined(self, pending: Vector) -> Vector:
        """The mean over processes that ascend by themselves; of a copy, as the original may be remembered."""
        trained = {name: p for name, p in self._parameters.items() if p.requires_grad}
        means = self._processes.combined(pending.clone().parts, trained)
        return Vector({name: mean for name, mean in means.items() if mean is not None})
