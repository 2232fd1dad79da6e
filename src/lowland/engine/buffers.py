"""A model's buffers, such as batch-norm statistics: remembered, and put back in place."""

import torch
from torch import Tensor, nn

__all__ = ["Buffers"]


Snapshot = list[tuple[dict[str, Tensor | None], str, Tensor | None, Tensor | None]]
"""Where each buffer belongs, its name, the tensor, and a copy of what it held."""


class Buffers:
    """All buffers of a model; no class is looked at, so any layer's statistics are covered.

    A snapshot costs one copy of the buffers. Restoring also undoes a forward pass that re-assigned one.
    """

    def __init__(self, model: nn.Module) -> None:
        self._stores = [module._buffers for module in model.modules()]

    def snapshot(self) -> Snapshot:
        """Each buffer with a copy of what it holds."""
        slots = [(store, name, tensor) for store in self._stores for name, tensor in store.items()]
        return [(store, name, tensor, None if tensor is None else tensor.clone()) for store, name, tensor in slots]

    def restore(self, snapshot: Snapshot) -> None:
        """Put a snapshot back, into the same tensors."""
        for store, name, tensor, _ in snapshot:
            store[name] = tensor
        held = [(tensor, copy) for _, _, tensor, copy in snapshot]
        kept = [(t, copy) for t, copy in held if t is not None and copy is not None and _can_change(t)]
        if kept:
            tensors, copies = zip(*kept, strict=True)
            torch._foreach_copy_(list(tensors), list(copies))


def _can_change(buffer: Tensor) -> bool:
    """Whether a pass could have written to it: not to an expanded tensor, nor to one made in inference mode."""
    return not buffer.is_inference() and not any(
        stride == 0 and size > 1 for stride, size in zip(buffer.stride(), buffer.shape, strict=True)
    )
