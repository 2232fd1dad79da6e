"""The Frobenius norm of a matrix that can only be multiplied with."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from lowland.checks import whole
from lowland.estimate.check import check
from lowland.estimate.estimate import Estimate
from lowland.estimate.meter import Meter
from lowland.estimate.random_blocks import COLUMNS, random_blocks
from lowland.operators.operator import Operator

__all__ = ["frobenius"]


def frobenius(operator: Operator, probes: int = 30, seed: int = 0, *, exact: bool = False) -> Estimate[float]:
    r"""The norm :math:`\sqrt{\sum A_{ij}^2}`, as the root of the mean of :math:`\|A z\|^2` over random signs z.

    The mean of squares is unbiased; its root is low by about ``stderr^2 / (2 value)``. The standard error of the
    root is that of the mean of squares over twice the root.

    Args:
        operator: Any matrix, of shape ``(m, n)``.
        probes: At least 2.
        seed: Of the random signs.
        exact: Whether to take the n columns themselves instead of chance.

    Returns:
        The norm.

    Raises:
        ValueError: If ``probes`` is out of range, or products are not finite.

    Example:
        >>> import torch
        >>> from lowland.operators.hessian import hessian
        >>> from lowland.operators.problem import problem
        >>> data = torch.diag(torch.tensor([1.0, 2.0])), torch.ones(2, 1)
        >>> H = hessian(problem(torch.nn.Linear(2, 1, bias=False), torch.nn.functional.mse_loss, data))
        >>> round(frobenius(H).value ** 2, 4)
        17.0

    Cost:
        As many products as probes, or n.
    """
    check(operator, square=False)
    whole("probes", probes, 2)
    meter = Meter(operator)
    blocks = _units(operator) if exact else random_blocks(operator, probes, seed)
    squares = torch.cat([(meter @ Z).square().sum(0) for Z in blocks])
    square = Estimate.of(squares * len(squares) if exact else squares, meter)
    norm = square.value**0.5
    stderr = 0.0 if exact or norm == 0 else square.stderr / (2 * norm)
    return replace(square, value=norm, stderr=stderr)


def _units(operator: Operator) -> Iterator[Tensor]:
    """The columns of the identity, a few at a time."""
    n = operator.shape[1]
    for columns in torch.arange(n, device=operator.device).split(COLUMNS):
        block = torch.zeros(n, len(columns), dtype=operator.dtype, device=operator.device)
        block[columns, columns - columns[0]] = 1.0
        yield block
