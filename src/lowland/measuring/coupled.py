"""Losses of a batch that are not the mean of what its examples give."""

import math

import torch

from lowland.measuring.groups import cut
from lowland.measuring.slope import mean_loss
from lowland.operators.problem import Problem

__all__ = ["COUPLED", "coupled"]

COUPLED = (
    "a loss that weighs or couples the examples of a batch, such as class weights, ignore_index or a contrast "
    "between examples"
)


def coupled(problem: Problem) -> bool:
    """Whether the loss of the first batch is another than the mean over its first example and the others.

    False where the batch cannot be cut, or batch norm couples the examples anyway.

    Cost:
        Two forward passes of one batch.
    """
    batch = next(iter(problem.batches))
    if batch.count < 2 or problem.settings.mode == "train":
        return False
    try:
        parts = [cut(batch, 0, 1), cut(batch, 1, batch.count)]
    except ValueError:
        return False
    whole = mean_loss(problem, [batch])
    try:
        apart = mean_loss(problem, parts)
    except ValueError:  # the first target is ignored
        return True
    precision = torch.finfo(problem.settings.autocast or problem.dtype).eps ** 0.5
    return not math.isclose(whole, apart, rel_tol=precision, abs_tol=precision)
