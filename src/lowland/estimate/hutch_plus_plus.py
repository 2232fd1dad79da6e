"""The trace, the large eigenvalues' part of it without chance."""

import torch

from lowland.estimate.estimate import Estimate
from lowland.estimate.meter import Meter
from lowland.estimate.random_blocks import COLUMNS, random_blocks
from lowland.operators.operator import Operator

__all__ = ["hutch_plus_plus"]


def hutch_plus_plus(operator: Operator, probes: int, seed: int) -> Estimate[float]:
    r"""Trace on a sketched space Q, plus the mean of :math:`z^T (I - QQ^T) A (I - QQ^T) z` for the rest.

    A third of the products goes to Q, the range of A times random signs, a third to the trace on it, and a third
    to the rest. Q is independent of the rest's z, so the value is unbiased whatever Q is, and the spread over z
    is all of the error.

    Args:
        operator: Square, of side n.
        probes: Products, at least 4 and at most n.
        seed: Of the random signs.

    Returns:
        The trace; its ``probes`` are the rest's, a third.

    Cost:
        As many products as probes. Memory ``2/3 probes n``.

    References:
        Meyer, Musco, Musco, Woodruff, Hutch++: optimal stochastic trace estimation, 2021, algorithm 1.
    """
    meter, width = Meter(operator), probes // 3
    sketch = torch.cat([meter @ S for S in random_blocks(operator, width, seed)], dim=1)
    Q = torch.linalg.qr(sketch).Q
    known = sum(float((part * (meter @ part)).sum()) for part in Q.split(COLUMNS, dim=1))
    samples = []
    for Z in random_blocks(operator, probes - 2 * width, seed, first=width):
        rest = Z - Q @ (Q.T @ Z)
        samples.append((rest * (meter @ rest)).sum(0))
    return Estimate.of(torch.cat(samples), meter, known)
