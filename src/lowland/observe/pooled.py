"""Features of any shape as a matrix: one row for each example, or for each token."""

import torch
from torch import Tensor

from lowland.checks import one_of

__all__ = ["POOLINGS", "TOKENS", "pooled", "refuse_other_width"]

POOLINGS = ("flatten", "mean", "first")
"""``flatten`` keeps all, ``mean`` averages over positions or tokens, ``first`` takes token 0 (the class token)."""

TOKENS = "tokens"
"""Every token or position is a row by itself; for what does not need one row for each example."""


def pooled(features: Tensor, pool: str = "flatten") -> Tensor:
    """The features as a matrix (n, d), in at least single precision.

    Args:
        features: (n,), (n, d), tokens (n, t, d), or maps (n, c, h, w) and (n, c, l, h, w).
        pool: One of ``POOLINGS``, or ``TOKENS``. ``mean`` leaves d numbers of tokens, c numbers of maps;
            ``TOKENS`` makes n t rows of tokens, n h w rows of maps.

    Returns:
        Shape (n, d), float32 or float64; a view where possible.

    Raises:
        ValueError: If ``pool`` is unknown, or ``first`` meets features that are not tokens.

    Example:
        >>> import torch
        >>> pooled(torch.ones(8, 16, 4, 4)).shape, pooled(torch.ones(8, 16, 4, 4), "mean").shape
        (torch.Size([8, 256]), torch.Size([8, 16]))
        >>> pooled(torch.ones(8, 5, 16), "tokens").shape, pooled(torch.ones(8, 16, 4, 4), "tokens").shape
        (torch.Size([40, 16]), torch.Size([128, 16]))
    """
    one_of("pool", pool, (*POOLINGS, TOKENS))
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
    if pool == "mean":
        return features.mean(1) if features.ndim == 3 else features.flatten(2).mean(2)
    return features.flatten(0, 1) if features.ndim == 3 else features.movedim(1, -1).flatten(0, -2)


def refuse_other_width(site: str, rows: Tensor, width: int) -> None:
    """Refuse rows (n, d) of a layer that had ``width`` features before.

    Raises:
        ValueError: If d is not ``width``.
    """
    if rows.shape[1] != width:
        raise ValueError(
            f"Layer {site!r} must answer with {width} features to every batch, as to the first, "
            f"got {rows.shape[1]}. For sequences of different lengths use pool='mean' or 'first'."
        )
