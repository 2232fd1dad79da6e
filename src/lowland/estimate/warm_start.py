"""One vector to start from that has a part in each of several."""

import numpy as np
import torch
from torch import Tensor

from lowland.estimate.eigen_pairs import EigenPairs
from lowland.estimate.outermost import ENDS, End
from lowland.operators.operator import Operator

__all__ = ["warm_start"]


def warm_start(warm: EigenPairs | Tensor, operator: Operator, k: int, end: End) -> Tensor:
    """The sum of the k outermost pairs' vectors, or of all columns of a tensor, each of length one.

    Their sum costs one product where the vectors themselves would cost one each, and leads to as good a basis.

    Raises:
        TypeError: If ``warm`` is neither pairs nor a tensor.
        ValueError: If its vectors have another length than the operator's side, or are zero or not finite.
    """
    if isinstance(warm, EigenPairs):
        outer = np.argsort(ENDS[end](warm.values.numpy()))[-k:]
        warm = warm.vectors[:, torch.from_numpy(outer.copy()).to(warm.vectors.device)]
    if not isinstance(warm, Tensor):
        raise TypeError(f"warm must be eigenpairs or a tensor of vectors, got {type(warm).__name__}.")
    n = operator.shape[0]
    columns = warm[:, None] if warm.ndim == 1 else warm
    if columns.ndim != 2 or len(columns) != n or columns.shape[1] < 1:
        raise ValueError(f"warm must hold vectors of length {n}, got shape {tuple(warm.shape)}.")
    lengths = columns.norm(dim=0)
    if not bool((torch.isfinite(lengths) & (lengths > 0)).all()):
        raise ValueError(f"The vectors of warm must be finite and not zero, got lengths {lengths.tolist()}.")
    return (columns / lengths).sum(dim=1).to(operator.device, operator.dtype)
