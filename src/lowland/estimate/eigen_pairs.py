"""Eigenvalues with their vectors, how sure they are, and what they cost."""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["EigenPairs", "NotConvergedError"]


@dataclass(frozen=True)
class EigenPairs:
    """Some eigenvalues of a symmetric matrix of side n.

    Attributes:
        values: Shape ``(k,)``, falling, float64, on the CPU.
        vectors: Of length one, shape ``(n, k)``, one a column; in the matrix's precision and place.
        bounds: Shape ``(k,)``: an eigenvalue of the matrix is no further from each value than this.
        converged: Whether all bounds are within what was asked for.
        products: With the matrix.
        gradients: What the products cost, in gradients of the same data; None where unknown.
    """

    values: Tensor
    vectors: Tensor
    bounds: Tensor
    converged: bool
    products: int
    gradients: float | None


class NotConvergedError(RuntimeError):
    """Eigenvalues did not become as sure as was asked for within the products allowed.

    Attributes:
        pairs: As far as they came.
    """

    def __init__(self, sentence: str, pairs: EigenPairs) -> None:
        super().__init__(sentence)
        self.pairs = pairs
