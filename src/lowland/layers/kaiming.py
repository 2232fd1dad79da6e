"""Random factors whose product keeps the variance of the activations."""

import math

import torch
from torch import Tensor

from lowland.layers.chain import Chain

__all__ = ["kaiming"]


def kaiming(weight: Tensor, chain: Chain, generator: torch.Generator | None = None) -> list[Tensor]:
    r"""Normal factors of variance :math:`1 / n` with n inputs each, and :math:`2 / n` for the last.

    Without skips the variance of the output is that of one Kaiming layer before a ReLU, whatever the depth. The
    values of ``weight`` are not used.

    Args:
        weight: Whose dtype and device the factors take.
        chain: Their shapes.
        generator: Source of randomness; None: PyTorch's own, as when a layer is made.

    Returns:
        The factors, as stored.
    """
    found = []
    for at in range(chain.depth):
        shape = chain.shape(at)
        gain = 2.0 if at == chain.depth - 1 else 1.0
        draw = torch.randn(shape, generator=generator, dtype=weight.dtype, device=weight.device)
        found.append(chain.stored(draw * math.sqrt(gain / math.prod(shape[2:]))))
    return found
