"""Batch-norm statistics of weights that no training pass has seen."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from lowland.engine.randomness import Randomness
from lowland.observe.forward import forward
from lowland.types import Batches

__all__ = ["estimate_statistics"]


@torch.no_grad()
def estimate_statistics(model: nn.Module, batches: Batches) -> None:
    """Replace the running statistics of all batch-norm layers by equal averages over ``batches``.

    As :func:`torch.optim.swa_utils.update_bn`, which see, but modes, momenta and random state come back on
    exceptions too, and inputs may be whatever :func:`lowland.calling.call` takes. Without batch norm
    nothing is done.

    Cost:
        One forward pass over ``batches``, in training mode.
    """
    layers = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not layers:
        return
    with _estimating(model, layers):
        for x, _ in batches:
            forward(model, x)


@contextmanager
def _estimating(model: nn.Module, layers: list[nn.modules.batchnorm._BatchNorm]) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    momenta = [(layer, layer.momentum) for layer in layers]
    chance = Randomness({p.device for p in model.parameters()})
    state = chance.state()
    try:
        model.train()
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # PyTorch's word for an equal average
        yield
    finally:
        chance.set(state)
        for layer, momentum in momenta:
            layer.momentum = momentum
        for module, training in modes:
            module.training = training
