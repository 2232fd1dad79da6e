"""Distributions of targets, given a model's outputs."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["LIKELIHOODS", "Likelihood"]


@dataclass(frozen=True)
class Likelihood:
    """A distribution of the targets y, given outputs z with one row for each example.

    Attributes:
        name: What it is called.
        draw: Targets, from outputs and a generator; None draws from PyTorch's own streams.
        slope: The derivative with respect to z of the sum of ``-log p(y | z)`` over examples.
    """

    name: str
    draw: Callable[[Tensor, torch.Generator | None], Tensor]
    slope: Callable[[Tensor, Tensor], Tensor]


def _class(z: Tensor, draw: torch.Generator | None) -> Tensor:
    if z.ndim != 2:
        raise ValueError(f"Classes are drawn for outputs of shape (n, k), got {tuple(z.shape)}.")
    return torch.multinomial(z.softmax(1), 1, generator=draw)[:, 0]


def _class_slope(z: Tensor, y: Tensor) -> Tensor:
    return z.softmax(1) - torch.nn.functional.one_hot(y, z.shape[1])


def _coin(z: Tensor, draw: torch.Generator | None) -> Tensor:
    return torch.bernoulli(z.sigmoid(), generator=draw)


def _normal(z: Tensor, draw: torch.Generator | None) -> Tensor:
    return z + torch.randn(z.shape, generator=draw, dtype=z.dtype, device=z.device)


LIKELIHOODS = {
    "categorical": Likelihood("categorical", _class, _class_slope),
    "bernoulli": Likelihood("bernoulli", _coin, lambda z, y: z.sigmoid() - y),
    "gaussian": Likelihood("gaussian", _normal, lambda z, y: z - y),
}
