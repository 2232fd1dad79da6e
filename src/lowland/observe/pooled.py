"""Features of any shape as a matrix: one row for each example."""

import torch
from torch import Tensor

from lowland.checks import one_of

__all__ = ["POOLINGS", "pooled"]

POOLINGS = ("flatten", "mean", "first")
"""``flatten`` keeps all, ``mean`` averages over positions or tokens, ``first`` takes token 0 (the class token)."""


def pooled(features: Tensor, pool: str = "flatten") -> Tensor:
    """The features as a matrix (n, d), in at least single precision.

    Args:
        features: (n,), (n, d), tokens (n, t, d), or maps (n, c, h, w) and (n, c, l, h, w).
        pool: One of ``POOLINGS``. ``mean`` leaves d numbers of tokens, c numbers of maps.

    Returns:
        Shape (n, d), float32 or float64; a view where possible.

    Raises:
        ValueError: If ``pool`` is unknown, or ``first`` meets features that are not tokens.

    Example:
        >>> import torch
        >>> pooled(torch.ones(8, 16, 4, 4)).shape, pooled(torch.ones(8, 16, 4, 4), "mean").shape
        (torch.Size([8, 256]), torch.Size([8, 16]))
    """
    one_of("pool", pool, POOLINGS)
    if pool == "first" and features.ndim != 3:
        raise ValueError(
            f"pool='first' must meet tokens of shape (n, t, d), got {tuple(features.shape)}. "
            "Use pool='mean' or 'flatten'."
        )
    features = features if features.dtype == torch.float64 else features.float()
    if pool == "first":
        return features[:, 0]
    if pool == "flatten" or features.ndim < 3:
        return features.reshape(len(features), -1)
    return features.mean(1) if features.ndim == 3 else features.flatten(2).mean(2)
