"""The largest singular value of a matrix that can only be multiplied with."""

from dataclasses import dataclass

from torch import Tensor

from lowland.estimate.check import check
from lowland.estimate.top import top
from lowland.operators.operator import Operator

__all__ = ["SpectralNorm", "spectral_norm"]


@dataclass(frozen=True)
class SpectralNorm:
    """The largest singular value of a matrix of shape ``(m, n)``.

    Attributes:
        value: Not negative.
        bound: A singular value is no further from it than this.
        vector: What the matrix stretches by it, of length one, shape ``(n,)``.
        products: With the matrix or its transpose.
        gradients: What the products cost, in gradients of the same data; None where unknown.
    """

    value: float
    bound: float
    vector: Tensor
    products: int
    gradients: float | None


def spectral_norm(
    operator: Operator, tol: float = 1e-3, *, warm: Tensor | None = None, seed: int = 0, max_products: int = 400
) -> SpectralNorm:
    r"""The largest :math:`\|A x\|` of unit vectors x.

    The largest absolute eigenvalue of a symmetric matrix; the root of the largest eigenvalue of
    :math:`A^T A` of any other.

    Args:
        operator: Any matrix; one that is not symmetric must know its transpose.
        tol: Relative to the norm.
        warm: Where to start: the vector of a similar matrix, of shape ``(n,)``.
        seed: Of the random start.
        max_products: At most, with the matrix and with its transpose each.

    Returns:
        The norm.

    Example:
        >>> import torch
        >>> from lowland.operators.hessian import hessian
        >>> from lowland.operators.problem import problem
        >>> data = torch.diag(torch.tensor([1.0, 2.0])), torch.ones(2, 1)
        >>> H = hessian(problem(torch.nn.Linear(2, 1, bias=False), torch.nn.functional.mse_loss, data))
        >>> round(spectral_norm(H).value, 4)
        4.0

    Cost:
        As the largest eigenvalue in :func:`~lowland.estimate.top.top`; twice that without symmetry.
    """
    check(operator, square=False)
    if operator.symmetric:
        pair = top(operator, 1, "magnitude", tol, warm=warm, seed=seed, max_products=max_products)
        value, bound, factors = abs(float(pair.values)), float(pair.bounds), 1
    else:
        pair = top(_Gram(operator), 1, "largest", 2 * tol, warm=warm, seed=seed, max_products=max_products)
        square, bound, factors = max(0.0, float(pair.values)), float(pair.bounds), 2
        value = square**0.5
        bound = min(bound / (2 * value) if value else bound, bound**0.5)
    return SpectralNorm(value, bound, pair.vectors[:, 0], factors * pair.products, pair.gradients)


class _Gram(Operator):
    """A matrix's transpose times itself."""

    def __init__(self, whole: Operator) -> None:
        n = whole.shape[1]
        super().__init__((n, n), whole.dtype, whole.device, symmetric=True)
        self.whole = whole

    @property
    def gradients(self) -> float | None:
        """Those of both factors."""
        return self.whole.gradients

    def multiply(self, block: Tensor) -> Tensor:
        """One product with the matrix, one with its transpose."""
        return self.whole.T @ (self.whole @ block)
