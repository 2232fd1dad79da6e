"""Lowers a loss to a level, by optimisers of every kind."""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from lowland.checks import one_of
from lowland.types import Closure

__all__ = ["OPTIMIZERS", "descend_to"]

LOST = 1e6
"""A loss beyond this has diverged."""

ATTEMPTS = 6

RENEWED = 20
"""Steps after which L-BFGS forgets its model of the curvature, in which it may be stuck."""

Make = Callable[[nn.Module, float], torch.optim.Optimizer]

OPTIMIZERS: Mapping[str, tuple[float, Make | None]] = {
    "sgd": (0.1, lambda model, rate: torch.optim.SGD(model.parameters(), rate)),
    "momentum": (0.03, lambda model, rate: torch.optim.SGD(model.parameters(), rate, momentum=0.9)),
    "adam": (0.003, lambda model, rate: torch.optim.Adam(model.parameters(), rate)),
    "lbfgs": (
        1.0,
        lambda model, rate: torch.optim.LBFGS(model.parameters(), rate, max_iter=1, line_search_fn="strong_wolfe"),
    ),
    "random search": (0.05, None),
}
"""The rate to begin with, and how to make one; nothing makes a search."""


def descend_to(
    level: float, model: nn.Module, loss: Closure, how: str, steps: int, generator: torch.Generator
) -> float:
    """Train until the loss is at most ``level``, with a third of the rate where training diverges.

    The random search adds noise to all weights, relative to their root mean square, and keeps what lowers the
    loss; the noise grows by a half after a success and shrinks by a tenth after a failure.

    Args:
        level: When to stop.
        model: Its parameters are changed.
        loss: Of all data.
        how: ``sgd``, ``momentum``, ``adam``, ``lbfgs`` or ``random search``.
        steps: At most.
        generator: Source of randomness of the search.

    Returns:
        The loss at the end; infinite if training diverged at every rate.

    Raises:
        ValueError: If there is no such way.
    """
    one_of("how", how, OPTIMIZERS)
    rate, make = OPTIMIZERS[how]
    if make is None:
        return _search(level, model, loss, rate, steps, generator)
    start = parameters_to_vector(model.parameters()).detach()
    for attempt in range(ATTEMPTS):
        vector_to_parameters(start.clone(), model.parameters())
        left = _descend(level, model, loss, make, rate / 3**attempt, steps)
        if left < LOST:
            return left
    return math.inf


def _descend(level: float, model: nn.Module, loss: Closure, make: Make, rate: float, steps: int) -> float:
    optimizer, left = make(model, rate), math.inf

    def closure() -> float:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value.item()

    for step in range(steps):
        if isinstance(optimizer, torch.optim.LBFGS) and step % RENEWED == 0:
            optimizer = make(model, rate)
        optimizer.step(closure)
        left = loss().item()
        if left <= level or not left < LOST:
            break
    return left


@torch.no_grad()
def _search(
    level: float, model: nn.Module, loss: Callable[[], Tensor], size: float, steps: int, generator: torch.Generator
) -> float:
    w, best = parameters_to_vector(model.parameters()), loss().item()
    for _ in range(steps):
        if best <= level:
            break
        noise = torch.randn(w.shape, generator=generator, dtype=w.dtype)
        trial = w + size * w.norm() / math.sqrt(len(w)) * noise
        vector_to_parameters(trial, model.parameters())
        value = loss().item()
        better = value < best
        w, best, size = (trial, value, size * 1.5) if better else (w, best, size * 0.9)
    vector_to_parameters(w, model.parameters())
    return best
