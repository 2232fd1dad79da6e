"""Which tensors share memory with others."""

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["overlapping", "shared"]


def shared(tensor: Tensor) -> bool:
    """Whether another tensor looks at the same storage, as a cached view, a buffer or a state dict does.

    A guess on the safe side: True where PyTorch does not count.
    """
    count = getattr(torch._C, "_storage_Use_Count", None)
    if count is None:
        return True
    alone = torch.empty(1)
    return count(tensor.untyped_storage()._cdata) > count(alone.untyped_storage()._cdata)


def overlapping(tensors: Mapping[str, Tensor]) -> set[str]:
    """Names of tensors that begin before an earlier one ends; what they leave is apart."""
    spans = sorted((t.data_ptr(), t.data_ptr() + _extent(t), name) for name, t in tensors.items() if not t.is_meta)
    end, found = 0, set()
    for start, stop, name in spans:
        if start < end:
            found.add(name)
        end = max(end, stop)
    return found


def _extent(t: Tensor) -> int:
    """Bytes from the first entry to the end of the last."""
    if not t.numel():
        return 0
    last = sum((size - 1) * stride for size, stride in zip(t.shape, t.stride(), strict=True))
    return (last + 1) * t.element_size()
