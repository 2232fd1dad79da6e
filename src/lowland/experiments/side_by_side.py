"""Small fully connected networks without biases, several of them trained side by side as one.

All weights and data have a leading axis of r replicas, which do not know of each other: each has its own weights,
its own order of the data, and its own step. One that diverges leaves the others alone.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from lowland.seeds import generator

__all__ = ["batches", "compressed", "descend", "drawn", "one_hot_error", "outputs"]

AHEAD = 500
"""Steps whose batches are drawn at once."""


def drawn(widths: Sequence[int], seeds: Sequence[int], device: str = "cpu") -> list[Tensor]:
    """He-normal weights in float64, each of shape (r, out, in); a replica's depend on its seed alone."""
    streams = [generator(seed, "weights") for seed in seeds]
    shapes = list(zip(widths[1:], widths[:-1], strict=True))
    return [
        torch.stack([torch.randn(shape, generator=g, dtype=torch.float64) for g in streams])
        .mul_(math.sqrt(2 / shape[1]))
        .to(device)
        .requires_grad_()
        for shape in shapes
    ]


def outputs(weights: Sequence[Tensor], x: Tensor, relu: bool) -> Tensor:
    """What the networks say, (r, n, k), of inputs (r, n, d) or, shared by all, (n, d)."""
    h = x
    for at, weight in enumerate(weights):
        h = h @ weight.mT
        h = h.relu() if relu and at < len(weights) - 1 else h
    return h


def one_hot_error(found: Tensor, y: Tensor) -> Tensor:
    """Squared distance of answers (..., n, k) to the one-hot target of labels (..., n), mean over the examples."""
    target = nn.functional.one_hot(y, found.shape[-1]).to(found)
    return (found - target).square().sum(-1).mean(-1)


def descend(
    weights: Sequence[Tensor],
    losses: Tensor,
    learning_rate: float,
    *,
    clip: float = math.inf,
    decay: float = 0.0,
) -> None:
    """One step of gradient descent, in place, each replica on its own loss.

    Args:
        weights: Of all layers, first to last.
        losses: One per replica, shape (r,).
        learning_rate: Size of the step.
        clip: Longest gradient of a replica; a longer one is shortened to this.
        decay: Weight decay on the first layer.
    """
    grads = torch.autograd.grad(losses.sum(), weights)
    if clip < math.inf:
        lengths = torch.stack([grad.square().sum((1, 2)) for grad in grads]).sum(0).sqrt()
        shorter = (clip / lengths).clamp(max=1)[:, None, None]
        grads = [grad * shorter for grad in grads]
    with torch.no_grad():
        weights[0].mul_(1 - learning_rate * decay)
        for weight, grad in zip(weights, grads, strict=True):
            weight.sub_(grad, alpha=learning_rate)


def batches(examples: int, size: int, seeds: Sequence[int]) -> Iterator[Tensor]:
    """Indices (r, size) of random examples, for ever; each is drawn from all."""
    streams = [generator(seed, "batches") for seed in seeds]
    while True:
        yield from torch.stack([torch.randint(examples, (AHEAD, size), generator=g) for g in streams], dim=1)


def compressed(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    r"""Data of d + k rows on which every linear network has the same mean squared error.

    With :math:`[X\ Y] = Q R` the errors of a linear network are :math:`\|X B - Y\| = \|R\,[B; -I]\|`.

    Args:
        x: Inputs, (r, n, d).
        y: Targets, (r, n, k).

    Returns:
        Inputs (r, d + k, d) and targets (r, d + k, k).

    Example:
        >>> x, y = torch.randn(1, 50, 2), torch.randn(1, 50, 1)
        >>> small, goal = compressed(x, y)
        >>> B = torch.ones(2, 1)
        >>> torch.allclose((x @ B - y).square().mean(), (small @ B - goal).square().mean(), atol=1e-4)
        True
    """
    R = torch.linalg.qr(torch.cat([x, y], -1)).R * math.sqrt((x.shape[-1] + y.shape[-1]) / x.shape[-2])
    return R[..., : x.shape[-1]].contiguous(), R[..., x.shape[-1] :].contiguous()
