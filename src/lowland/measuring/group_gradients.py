"""The gradients of groups of examples, one by one or many at a time."""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from lowland.measuring.coupled import COUPLED, coupled
from lowland.measuring.groups import cut, groups
from lowland.measuring.slope import slope
from lowland.operators.batch import Batch
from lowland.operators.problem import Problem

__all__ = ["group_gradients"]

COPIES = 4
"""Gradients that vmap holds for each that it gives."""

TRIED = 8
"""Examples on which it is tried."""


def group_gradients(problem: Problem, m: int) -> Iterator[Tensor]:
    """Gradients of the mean loss over consecutive groups of ``m`` examples.

    Those of single examples are computed many at a time where ``torch.func.vmap`` can, which is tried on the
    first examples and compared with their gradient.

    Yields:
        Blocks of shape ``(groups, P)``.

    Raises:
        ValueError: If the loss of a batch is not the mean of what its examples give.
    """
    if coupled(problem):
        raise ValueError(
            f"The loss must be the mean of what single examples give, to have a gradient for each, got {COUPLED}: "
            "leave this measurement out, or pass a loss that is such a mean."
        )
    limit = max(1, int(problem.settings.memory / (COPIES * problem.size * problem.dtype.itemsize)))
    if m == 1 and _can_together(problem, next(_pieces(problem, min(limit, TRIED)))):
        for piece in _pieces(problem, limit):
            yield _together(problem, piece)
    else:
        for group in groups(problem, m):
            yield slope(problem, group)[1][None]


def _pieces(problem: Problem, limit: int) -> Iterator[Batch]:
    for batch in problem.batches:
        for start in range(0, batch.count, limit):
            yield cut(batch, start, min(start + limit, batch.count))


def _can_together(problem: Problem, batch: Batch) -> bool:
    try:
        found = _together(problem, batch).mean(0)
    except (RuntimeError, TypeError, ValueError):  # what else is wrong comes up again, one by one
        return False
    _, g = slope(problem, [batch])
    return bool((found - g).norm() <= 1e-4 * g.norm() + torch.finfo(g.dtype).eps)


def _together(problem: Problem, batch: Batch) -> Tensor:
    def loss(w: list[Tensor], inputs: Any, targets: Any) -> Tensor:  # noqa: ANN401 - whatever a loader gives
        inputs, targets = pytree.tree_map(lambda t: t[None], (inputs, targets))
        one = replace(batch, inputs=inputs, targets=targets, count=1)
        return problem.value(one, problem.outputs(one, w))

    with problem.calm(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is a performance drop")  # LSTMs
        values = [p.detach() for p in problem.parameters.values()]
        found = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(values, batch.inputs, batch.targets)
    return torch.cat([part.flatten(1) for part in found], 1)
