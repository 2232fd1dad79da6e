"""The trace as a mean of quadratic forms."""

import torch

from lowland.estimate.estimate import Estimate
from lowland.estimate.meter import Meter
from lowland.estimate.random_blocks import random_blocks
from lowland.operators.operator import Operator

__all__ = ["hutchinson"]


def hutchinson(operator: Operator, probes: int, seed: int) -> Estimate[float]:
    r"""Mean of :math:`z^T A z` over vectors z of random signs.

    Unbiased, because :math:`E[z z^T] = I`. Its variance is twice the sum of the squares of the symmetric part's
    entries off the diagonal, over the number of probes.

    Args:
        operator: Square, of side n.
        probes: At least 2.
        seed: Of the random signs.

    Returns:
        The trace.

    Cost:
        As many products as probes. Memory 20 n.

    References:
        Hutchinson, A stochastic estimator of the trace of the influence matrix, 1989.
    """
    meter = Meter(operator)
    samples = [(Z * (meter @ Z)).sum(0) for Z in random_blocks(operator, probes, seed)]
    return Estimate.of(torch.cat(samples), meter)
