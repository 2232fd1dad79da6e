"""The loss of some examples and its gradient, where the weights are."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from lowland.operators.batch import Batch
from lowland.operators.problem import Problem

__all__ = ["Value", "finite", "mean_loss", "slope"]

Value = Callable[[Batch, Any], Tensor]
"""A batch's mean loss, from the batch and the model's outputs."""


def mean_loss(problem: Problem, batches: Iterable[Batch], value: Value | None = None) -> float:
    """The mean of a loss (None: the problem's) over the examples of some batches.

    Raises:
        ValueError: If it is not finite.
    """
    value = value or problem.value
    total, examples = 0.0, 0
    with problem.calm(), torch.no_grad():
        for batch in batches:
            total += batch.count * value(batch, problem.outputs(batch)).item()
            examples += batch.count
    return finite(total / examples)


def slope(problem: Problem, batches: Iterable[Batch], value: Value | None = None) -> tuple[float, Tensor]:
    """The mean of a loss (None: the problem's) over the examples of some batches, and its gradient, of length P.

    Raises:
        ValueError: If they are not finite.
    """
    value = value or problem.value
    parameters = list(problem.parameters.values())
    total, examples = 0.0, 0
    g = torch.zeros(problem.size, dtype=problem.dtype, device=problem.device)
    with problem.calm():
        for batch in batches:
            loss = value(batch, problem.outputs(batch))
            parts = torch.autograd.grad(loss, parameters, allow_unused=True)
            g.add_(problem.join(parts), alpha=batch.count)
            total += batch.count * loss.item()
            examples += batch.count
    finite(g.sum().item())
    return finite(total / examples), g / examples


def finite(number: float) -> float:
    """The number, if it is one.

    Raises:
        ValueError: If it is inf or nan.
    """
    if not math.isfinite(number):
        raise ValueError(
            f"The loss and its gradient must be finite where they are measured, got {number}: "
            "stay closer to the weights, or has training diverged?"
        )
    return number
