"""Choosing examples."""

import math

from torch import Tensor

__all__ = ["largest"]


def largest(values: Tensor, share: float) -> Tensor:
    """Indices of the largest ``share`` of ``values``, in order; at least one, also where values tie.

    Args:
        values: Of shape ``(n,)``.
        share: In (0, 1].

    Returns:
        Of shape ``(ceil(share * n),)``; found without waiting for the device.

    Example:
        >>> import torch
        >>> largest(torch.tensor([0.3, 0.1, 0.5]), 0.5)
        tensor([0, 2])
    """
    count = max(1, math.ceil(share * len(values)))
    return values.topk(count).indices.sort().values
