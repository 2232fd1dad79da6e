"""Class scores without their scale, and the loss of those."""

from typing import Any

from torch import Tensor

from lowland.measuring.slope import Value
from lowland.operators.problem import Problem

__all__ = ["normalised", "scale_free"]


def normalised(scores: Any) -> Tensor:  # noqa: ANN401 - refuses what are no scores
    r"""Each example's :math:`(z - \bar z) / \lVert z - \bar z \rVert`, with :math:`\bar z` the mean over classes.

    Args:
        scores: Shape ``(..., k)``, k >= 2.

    Raises:
        TypeError: If they are not one tensor.
        ValueError: If there is a single class.

    Example:
        >>> import torch
        >>> normalised(torch.tensor([[3.0, 1.0], [30.0, 10.0]]))
        tensor([[ 0.7071, -0.7071],
                [ 0.7071, -0.7071]])

    References:
        Andriushchenko, Croce, Mueller, Hein, Flammarion, A modern look at the relationship between sharpness and
        generalization, 2023; as in the authors' code.
    """
    if not isinstance(scores, Tensor):
        raise TypeError(
            f"Outputs must be one tensor of class scores, got {type(scores).__name__}: normalise=False."
        )
    if not scores.ndim or scores.shape[-1] <= 1:
        raise ValueError(f"Outputs must have 2 classes or more, got shape {tuple(scores.shape)}: normalise=False.")
    centred = scores - scores.mean(-1, keepdim=True)
    return centred / centred.norm(dim=-1, keepdim=True).clamp(min=1e-10)


def scale_free(problem: Problem) -> Value:
    """The problem's loss of normalised outputs."""
    return lambda batch, outputs: problem.value(batch, normalised(outputs))
