"""Long-tailed data: class ``c`` keeps exponentially fewer examples than class 0."""

import math

import torch
from torch import Tensor

from lowland.checks import at_least

__all__ = ["tail", "tail_counts"]


def tail_counts(largest: int, factor: float, classes: int) -> list[int]:
    r"""How many examples each class keeps, :math:`n_c = \lfloor n_0 F^{-c/(k-1)} \rfloor`.

    Args:
        largest: Examples of class 0.
        factor: Imbalance, largest over smallest class, >= 1. 1 keeps every class whole.
        classes: The number of classes.

    Returns:
        One count per class, never below 1, falling.

    Raises:
        TypeError: If ``factor`` is not a number.
        ValueError: If ``factor`` is below 1.

    Example:
        >>> tail_counts(5000, 100, 10)
        [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]

    References:
        Cao et al., Learning imbalanced datasets with label-distribution-aware margin loss, 2019, section 4.
    """
    at_least("factor", factor, 1.0)
    shares = [factor ** -(c / max(classes - 1, 1)) for c in range(classes)]
    return [max(1, math.floor(largest * share + 1e-9)) for share in shares]


def tail(y: Tensor, factor: float, classes: int) -> Tensor:
    """Indices of the examples a long-tailed set keeps: the first ``n_c`` of class ``c``, in stored order.

    Args:
        y: Labels, of shape ``(n,)``. Class 0 keeps up to ``n // classes`` examples.
        factor: Imbalance, >= 1. 1 keeps everything.
        classes: The number of classes.

    Returns:
        Ascending indices, of shape ``(m,)`` with ``m <= n``.

    Raises:
        TypeError: If ``factor`` is not a number.
        ValueError: If ``factor`` is below 1.
    """
    at_least("factor", factor, 1.0)
    if factor == 1:
        return torch.arange(len(y))
    counts = tail_counts(len(y) // classes, factor, classes)
    kept = [torch.nonzero(y == c).flatten()[:count] for c, count in enumerate(counts)]
    return torch.cat(kept).sort().values
