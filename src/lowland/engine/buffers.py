"""A model's buffers, such as batch-norm statistics: remembered, and put back in place."""

import torch
from torch import Tensor, nn

__all__ = ["Buffers"]


class Buffers:
    """All buffers of a model; no class is looked at, so any layer's statistics are covered.

    A snapshot costs one copy of the buffers. Restoring also undoes a forward pass that re-assigned one.
    """

    def __init__(self, model: nn.Module) -> None:
        self._slots = [(module._buffers, name) for module in model.modules() for name in module._buffers]

    def snapshot(self) -> list[tuple[Tensor | None, Tensor | None]]:
        """Each buffer with a copy of what it holds."""
        held = [slots[name] for slots, name in self._slots]
        return [(tensor, None if tensor is None else tensor.clone()) for tensor in held]

    def restore(self, snapshot: list[tuple[Tensor | None, Tensor | None]]) -> None:
        """Put a snapshot back, into the same tensors."""
        for (slots, name), (tensor, _) in zip(self._slots, snapshot, strict=True):
            slots[name] = tensor
        kept = [(t, copy) for t, copy in snapshot if t is not None and copy is not None and _can_change(t)]
        if kept:
            tensors, copies = zip(*kept, strict=True)
            torch._foreach_copy_(list(tensors), list(copies))


def _can_change(buffer: Tensor) -> bool:
    """Whether a pass could have written to it: not to an expanded tensor, nor to one made in inference mode."""
    return not buffer.is_inference() and not any(
        stride == 0 and size > 1 for stride, size in zip(buffer.stride(), buffer.shape, strict=True)
    )
