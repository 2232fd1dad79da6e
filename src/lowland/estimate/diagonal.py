"""The diagonal of a matrix that can only be multiplied with."""

import torch
from torch import Tensor

from lowland.checks import whole
from lowland.estimate.check import check
from lowland.estimate.estimate import Estimate
from lowland.estimate.meter import Meter
from lowland.estimate.random_blocks import random_blocks
from lowland.operators.operator import Operator

__all__ = ["diagonal"]


def diagonal(operator: Operator, probes: int = 30, seed: int = 0) -> Estimate[Tensor]:
    r"""Mean of :math:`z \odot A z` over vectors z of random signs, with a standard error for each entry.

    Unbiased; entry i has the variance :math:`\sum_{j \ne i} A_{ij}^2` over the number of probes.

    Args:
        operator: Square, of side n.
        probes: At least 2.
        seed: Of the random signs.

    Returns:
        The diagonal, of shape ``(n,)``, in the operator's precision and place.

    Raises:
        ValueError: If ``probes`` is out of range, the matrix is not square, or products are not finite.

    Example:
        >>> import torch
        >>> from lowland.operators.hessian import hessian
        >>> from lowland.operators.problem import problem
        >>> data = torch.diag(torch.tensor([1.0, 2.0])), torch.ones(2, 1)
        >>> H = hessian(problem(torch.nn.Linear(2, 1, bias=False), torch.nn.functional.mse_loss, data))
        >>> diagonal(H).value
        tensor([1., 4.])

    Cost:
        As many products as probes. Memory 22 n.

    References:
        Bekas, Kokiopoulou, Saad, An estimator for the diagonal of a matrix, 2007.
    """
    check(operator)
    whole("probes", probes, 2)
    meter = Meter(operator)
    mean = torch.zeros(operator.shape[0], dtype=operator.dtype, device=operator.device)
    spread, seen = torch.zeros_like(mean), 0
    for Z in random_blocks(operator, probes, seed):
        for sample in (Z * (meter @ Z)).T:
            seen += 1
            step = sample - mean
            mean += step / seen
            spread += step * (sample - mean)
    if not torch.isfinite(mean).all():
        raise ValueError(
            "Products with the operator must be finite, got nan or inf: look for it in the model's loss."
        )
    stderr = (spread / (probes * (probes - 1))).sqrt()
    return Estimate(mean, stderr, probes, meter.products, meter.gradients)
