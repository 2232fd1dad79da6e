"""Random signs for an operator, a few columns at a time."""

from collections.abc import Iterator

from torch import Tensor

from lowland.estimate.rademacher import rademacher
from lowland.operators.operator import Operator

__all__ = ["COLUMNS", "random_blocks"]

COLUMNS = 10
"""Multiplied at once: an operator over many batches builds each batch's graph once a block."""


def random_blocks(operator: Operator, probes: int, seed: int, first: int = 0) -> Iterator[Tensor]:
    """Columns ``first`` to ``first + probes`` of random signs, of shape ``(n, up to 10)`` each.

    The same for all operators of one shape, which pairs their estimates.
    """
    for start in range(first, first + probes, COLUMNS):
        k = min(COLUMNS, first + probes - start)
        yield rademacher(
            operator.shape[1], k, seed=seed, first=start, dtype=operator.dtype, device=operator.device
        )
