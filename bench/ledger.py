"""Peak memory of tensors, on any device: every operation's outputs, until their storage is freed."""

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Ledger"]


class Ledger(TorchDispatchMode):
    """Counts the bytes that operations inside the block allocate and still hold.

    Attributes:
        peak: The most bytes held at once, of those allocated inside the block.
    """

    def __init__(self):
        super().__init__()
        self.peak = 0
        self._held = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        outputs = func(*args, **(kwargs or {}))
        given = {
            t.untyped_storage()._cdata for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)
        }
        for tensor in pytree.tree_leaves(outputs):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage()._cdata not in given:
                storage = tensor.untyped_storage()
                self._held[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self.peak = max(self.peak, self.held)
        return outputs

    @property
    def held(self):
        """Bytes held now, of those allocated inside the block."""
        self._held = {key: held for key, held in self._held.items() if not held[0].expired()}
        return sum(size for _, size in self._held.values())
