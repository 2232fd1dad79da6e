"""Batch norm's running statistics, estimated anew."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from lowland.operators.problem import Problem
from lowland.shield import Shield

__all__ = ["renewed_statistics"]


@contextmanager
def renewed_statistics(problem: Problem) -> Iterator[None]:
    """Inside, batch norm's running statistics are the mean over the problem's batches, at the weights there are.

    They come back afterwards. Nothing is done in training mode, which does not use them.

    Cost:
        One forward pass, if the model has such layers.
    """
    with problem.calm():
        norms = [n for n in problem.model.modules() if isinstance(n, _BatchNorm) and n.track_running_stats]
        if norms and problem.settings.mode == "eval":
            _estimate(problem, norms)
        yield


def _estimate(problem: Problem, norms: list[_BatchNorm]) -> None:
    with Shield() as shield, _averaging(norms), torch.no_grad(), shield.opened():
        for batch in problem.batches:
            problem.outputs(batch)


@contextmanager
def _averaging(norms: list[_BatchNorm]) -> Iterator[None]:
    """Inside, their statistics begin anew and are plain means over batches; afterwards they are used."""
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # which means the plain mean
            norm.train()
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()
