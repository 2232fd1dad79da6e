"""The model at other weights, and the way back."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from lowland.operators.problem import Problem
from lowland.shield import Shield

__all__ = ["displaced", "weights"]

T = TypeVar("T")


def displaced(problem: Problem, w: Tensor, compute: Callable[[], T]) -> T:
    """What ``compute`` gives while the parameters have the values ``w``, of length P.

    Their storage is written to, so that whatever looks at it sees the new values (compiled code, flattened LSTMs,
    cached views), and then brought back, bit for bit. Ctrl-C is let through while ``compute`` runs, and waits
    while weights are copied. A graph of the caller's stays valid.
    """
    parameters = list(problem.parameters.values())
    own = [p.detach().clone() for p in parameters]
    with Shield() as shield:
        try:
            _write(parameters, problem.split(w))
            with shield.opened():
                return compute()
        finally:
            _write(parameters, own)


def weights(problem: Problem) -> Tensor:
    """The values that the parameters have, copied, of length P."""
    return problem.join([p.detach() for p in problem.parameters.values()])


@torch.no_grad()
def _write(parameters: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for p, value in zip(parameters, values, strict=True):
        p.data.copy_(value)  # not p.copy_, which graphs that hold p would notice
