"""The one operation of all running averages."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["lerp_"]


def lerp_(averages: Sequence[Tensor], latest: Sequence[Tensor], share: float | Tensor) -> None:
    """Move ``averages`` the part ``share`` of the way to ``latest``, in place, in the dtype of the averages.

    Args:
        averages: Floating tensors.
        latest: As many, of the same shapes.
        share: In [0, 1]; a scalar on the device is not waited for.
    """
    latest = [new.to(average.dtype) for average, new in zip(averages, latest, strict=True)]
    if isinstance(share, Tensor):
        torch._foreach_lerp_(list(averages), latest, [share.to(average) for average in averages])
    else:
        torch._foreach_lerp_(list(averages), latest, share)
