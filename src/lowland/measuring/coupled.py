"""Losses of a batch that are not the mean of what its examples give."""

import math
from dataclasses import replace

import torch

from lowland.measuring.groups import cut
from lowland.operators.batch import Batch
from lowland.operators.problem import Problem

__all__ = ["COUPLED", "coupled"]

COUPLED = (
    "a loss that weighs or couples the examples of a batch, such as class weights, ignore_index or a contrast "
    "between examples"
)


def coupled(problem: Problem) -> bool:
    """Whether the loss of the first batch's outputs is another than the mean over the first and the others.

    False where it cannot be told: the batch cannot be cut, the model computes its loss itself, or that is not
    finite.

    Cost:
        One forward pass of one batch.
    """
    with problem.calm(), torch.no_grad():
        batch = next(iter(problem.batches))
        if batch.count < 2 or problem.loss is None:
            return False
        outputs = problem.outputs(batch)
        try:
            first, others = _loss(problem, batch, outputs, 0, 1), _loss(problem, batch, outputs, 1, batch.count)
        except (ValueError, TypeError, RuntimeError, IndexError):  # shapes of its own
            return False
        whole = problem.value(batch, outputs).item()
    apart = (first + (batch.count - 1) * others) / batch.count
    precision = torch.finfo(problem.settings.autocast or problem.dtype).eps ** 0.5
    return math.isfinite(whole) and not math.isclose(whole, apart, rel_tol=precision, abs_tol=precision)


def _loss(problem: Problem, batch: Batch, outputs: object, start: int, stop: int) -> float:
    """The mean loss of the examples from ``start`` to ``stop``."""
    piece = cut(replace(batch, inputs=outputs), start, stop)
    return problem.value(piece, piece.inputs).item()
