"""Symmetric label noise: some labels are wrong, each wrong class equally likely."""

import torch
from torch import Tensor

from lowland.checks import fraction

__all__ = ["noisy"]


def noisy(y: Tensor, rate: float, classes: int, generator: torch.Generator) -> Tensor:
    """Labels of which exactly ``round(rate * n)`` are changed, each to another class drawn uniformly.

    Args:
        y: Labels, of shape ``(n,)``.
        rate: Share of labels that become wrong, in ``[0, 1]``. 0 returns the labels as they are.
        classes: The number of classes, at least 2 where ``rate > 0``.
        generator: Source of randomness, on the CPU.

    Returns:
        New labels, of shape ``(n,)``.

    Raises:
        TypeError: If ``rate`` is not a number.
        ValueError: If ``rate`` is outside ``[0, 1]``, or there is no other class to change to.

    Example:
        >>> y = torch.zeros(10, dtype=torch.long)
        >>> (noisy(y, 0.3, 5, torch.Generator().manual_seed(0)) != y).sum().item()
        3
    """
    fraction("rate", rate)
    if rate and classes < 2:
        raise ValueError(f"classes must be at least 2 for a label to be wrong, got {classes}.")
    chosen = torch.randperm(len(y), generator=generator)[: round(rate * len(y))]
    step = torch.randint(1, max(classes, 2), (len(chosen),), generator=generator)
    wrong = y.clone()
    wrong[chosen] = (y[chosen] + step) % classes
    return wrong
