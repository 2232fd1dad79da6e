"""Random directions in which every filter moves in proportion to its size."""

import torch
from torch import Tensor

from lowland.operators.problem import Problem

__all__ = ["filter_direction"]


def filter_direction(problem: Problem, draw: torch.Generator) -> Tensor:
    r"""A normal vector whose filters are as long as the weights': :math:`d_i \|w_i\| / \|d_i\|`, of length P.

    A filter is a row of a weight: the entries with the same first index. Parameters of one dimension, such as
    biases and those of normalisation layers, do not move. Drawn on the CPU, so the same on every device.

    Raises:
        ValueError: If no parameter has two dimensions, or all are zero.

    References:
        Li, Xu, Taylor, Studer, Goldstein, Visualizing the loss landscape of neural nets, 2018; the rule for
        parameters of one dimension is the default of the authors' code.
    """
    parts = [_like(p.detach(), draw) for p in problem.parameters.values()]
    direction = problem.join(parts)
    if not direction.any():
        raise ValueError("A filter-normalised direction needs a weight matrix that is not zero, got none.")
    return direction


def _like(w: Tensor, draw: torch.Generator) -> Tensor:
    d = torch.randn(w.shape, generator=draw, dtype=torch.float64).to(w)
    if w.ndim <= 1:
        return torch.zeros_like(w)
    rows = d.flatten(1)
    return (rows * (w.flatten(1).norm(dim=1) / rows.norm(dim=1))[:, None]).view(w.shape)
