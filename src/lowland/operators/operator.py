"""A matrix that can only be multiplied with, and what can be built of such matrices."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lowland.observe.ordinary import as_ordinary, ordinary

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse.linalg import LinearOperator

__all__ = ["Combination", "Operator"]


class Operator(ABC):
    """A real matrix, known by its products.

    Operators of equal shape add, subtract and scale: ``hessian - gauss_newton``, ``0.5 * fisher``.

    Attributes:
        shape: Rows and columns.
        dtype: Of what it multiplies, and of what comes out.
        device: Likewise.
        symmetric: Whether the matrix equals its transpose.
        products: Columns that it was multiplied with so far.
    """

    def __init__(
        self, shape: tuple[int, int], dtype: torch.dtype, device: torch.device | str, *, symmetric: bool
    ) -> None:
        self.shape, self.dtype, self.device = shape, dtype, torch.device(device)
        self.symmetric = symmetric
        self.products = 0

    @abstractmethod
    def multiply(self, block: Tensor) -> Tensor:
        """The product with a block of columns, of shape ``(columns of the matrix, k)``; shape ``(rows, k)``."""

    def multiply_transposed(self, block: Tensor) -> Tensor:
        """The product of the transpose with a block, of shape ``(rows, k)``; shape ``(columns, k)``.

        Raises:
            NotImplementedError: If the operator knows no transpose.
        """
        if self.symmetric:
            return self.multiply(block)
        raise NotImplementedError(f"{type(self).__name__} knows no product with its transpose.")

    @property
    def gradients(self) -> float | None:
        """What the products have cost so far, in units of one gradient of the same data; None where unknown."""
        return None

    @property
    def T(self) -> "Operator":  # noqa: N802 - as everywhere
        """The transpose."""
        return self if self.symmetric else _Transpose(self)

    def __matmul__(self, x: Tensor) -> Tensor:
        """The product with a vector of shape ``(n,)``, or with a block of shape ``(n, k)``.

        Raises:
            TypeError: If ``x`` is no tensor, or of another dtype.
            ValueError: If it is of another length, or on another device.
        """
        _check(self, x)
        with ordinary():
            x = as_ordinary(x.detach())
            block = x[:, None] if x.ndim == 1 else x
            self.products += block.shape[1]
            product = self.multiply(block)
            return product[:, 0] if x.ndim == 1 else product

    def __add__(self, other: "Operator") -> "Combination":
        return Combination([(1.0, self), (1.0, other)])

    def __sub__(self, other: "Operator") -> "Combination":
        return Combination([(1.0, self), (-1.0, other)])

    def __mul__(self, factor: float) -> "Combination":
        return Combination([(float(factor), self)])

    __rmul__ = __mul__

    def __neg__(self) -> "Combination":
        return -1.0 * self

    def dense(self) -> Tensor:
        """The matrix itself, column by column: for small ones, and for tests."""
        return self @ torch.eye(self.shape[1], dtype=self.dtype, device=self.device)

    def to_scipy(self) -> "LinearOperator":
        """The same for SciPy's solvers: takes and gives NumPy arrays of the operator's precision."""
        from scipy.sparse.linalg import LinearOperator

        def product(matrix: Operator, x: "np.ndarray") -> "np.ndarray":
            return (matrix @ torch.as_tensor(x, dtype=self.dtype, device=self.device)).cpu().numpy()

        forth, back = partial(product, self), partial(product, self.T)
        products = {"matvec": forth, "matmat": forth, "rmatvec": back, "rmatmat": back}
        return LinearOperator(dtype=torch.empty(0, dtype=self.dtype).numpy().dtype, shape=self.shape, **products)


class Combination(Operator):
    """A sum of operators, each times a number; its products cost what theirs cost.

    Raises:
        TypeError: If one of them is no operator.
        ValueError: If their shapes differ.
    """

    def __init__(self, terms: Sequence[tuple[float, Operator]]) -> None:
        self.terms = _merged([(a * b, part) for a, whole in terms for b, part in _terms(whole)])
        first = self.terms[0][1]
        for _, part in self.terms:
            if not isinstance(part, Operator):
                raise TypeError(f"Only operators can be added to operators, got {type(part).__name__}.")
            if part.shape != first.shape:
                raise ValueError(
                    f"Operators must be of one shape to be added, got {first.shape} and {part.shape}."
                )
        symmetric = all(part.symmetric for _, part in self.terms)
        super().__init__(first.shape, first.dtype, first.device, symmetric=symmetric)

    @property
    def gradients(self) -> float | None:
        """What the products of all terms have cost so far."""
        costs = [cost for _, part in self.terms if (cost := part.gradients) is not None]
        return sum(costs) if len(costs) == len(self.terms) else None

    def multiply(self, block: Tensor) -> Tensor:
        """The sum of the products."""
        total = block.new_zeros(block.shape[1], self.shape[0]).T  # a column's numbers lie side by side
        for factor, part in self.terms:
            total.add_(part @ block, alpha=factor)
        return total

    def multiply_transposed(self, block: Tensor) -> Tensor:
        """The sum of the transposes' products."""
        return Combination([(factor, part.T) for factor, part in self.terms]).multiply(block)


class _Transpose(Operator):
    def __init__(self, whole: Operator) -> None:
        super().__init__((whole.shape[1], whole.shape[0]), whole.dtype, whole.device, symmetric=False)
        self.whole = whole

    @property
    def gradients(self) -> float | None:
        return self.whole.gradients

    @property
    def T(self) -> Operator:  # noqa: N802
        return self.whole

    def multiply(self, block: Tensor) -> Tensor:
        self.whole.products += block.shape[1]
        return self.whole.multiply_transposed(block)

    def multiply_transposed(self, block: Tensor) -> Tensor:
        return self.whole.multiply(block)


def _merged(terms: Sequence[tuple[float, Operator]]) -> list[tuple[float, Operator]]:
    """Each operator once."""
    parts = {id(part): part for _, part in terms}.values()
    return [(sum(factor for factor, other in terms if other is part), part) for part in parts]


def _terms(whole: Operator) -> list[tuple[float, Operator]]:
    return whole.terms if isinstance(whole, Combination) else [(1.0, whole)]


def _check(matrix: Operator, x: Tensor) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"An operator must be multiplied with a tensor, got {type(x).__name__}.")
    if x.ndim not in (1, 2) or len(x) != matrix.shape[1]:
        raise ValueError(
            f"An operator of shape {matrix.shape} must be multiplied with a vector or block of "
            f"{matrix.shape[1]} rows, got shape {tuple(x.shape)}."
        )
    if x.dtype != matrix.dtype:
        raise TypeError(f"The operator's vectors must be of {matrix.dtype}, got {x.dtype}: convert with .to().")
    if x.device != matrix.device:
        raise ValueError(f"The operator's vectors must be on {matrix.device}, got one on {x.device}.")
