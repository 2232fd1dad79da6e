"""Steps networks that are stacked, each as an optimiser would step it alone."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import nn

from lowland.checks import one_of

__all__ = ["OPTIMIZERS", "stepper"]

OPTIMIZERS: Mapping[str, Callable[..., torch.optim.Optimizer]] = {
    "SGD": torch.optim.SGD,
    "momentum": partial(torch.optim.SGD, momentum=0.9),
    "Adam": torch.optim.Adam,
    "AdamW": partial(torch.optim.AdamW, weight_decay=0.01),
    "Muon": partial(torch.optim.Muon, weight_decay=0.0),
}


def stepper(name: str, weights: Sequence[nn.Parameter], learning_rate: float) -> Callable[[], None]:
    """Make what steps all replicas and clears their gradients.

    Args:
        name: One of :data:`OPTIMIZERS`. Muon, which is of matrices, sees each replica by itself.
        weights: Matrices, replicas first: ``(r, out, in)``.
        learning_rate: Of all.

    Raises:
        ValueError: If there is no such optimiser.
    """
    one_of("name", name, OPTIMIZERS)
    if name == "Muon":
        return _one_by_one(name, weights, learning_rate)
    optimizer = OPTIMIZERS[name](weights, lr=learning_rate)

    def together() -> None:
        optimizer.step()
        optimizer.zero_grad()

    return together


def _one_by_one(name: str, weights: Sequence[nn.Parameter], learning_rate: float) -> Callable[[], None]:
    views = [(weight, i, nn.Parameter(weight.data[i])) for weight in weights for i in range(len(weight))]
    optimizer = OPTIMIZERS[name]([view for _, _, view in views], lr=learning_rate)

    def step() -> None:
        for weight, i, view in views:
            view.grad = None if weight.grad is None else weight.grad[i]
        optimizer.step()
        for weight in weights:
            weight.grad = None

    return step
