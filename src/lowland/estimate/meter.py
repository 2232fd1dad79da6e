"""What one estimate has cost, where several share an operator."""

from torch import Tensor

from lowland.operators.operator import Operator

__all__ = ["Meter"]


class Meter:
    """Multiplies with an operator, and counts what these products alone have cost.

    Attributes:
        products: Columns multiplied with.
        gradients: Their cost in gradients of the same data; None where the operator does not know.
    """

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.products = 0
        self.gradients: float | None = None if operator.gradients is None else 0.0

    def __matmul__(self, x: Tensor) -> Tensor:
        products, gradients = self.operator.products, self.operator.gradients
        y = (self.operator @ x).detach()
        self.products += self.operator.products - products
        if gradients is not None and self.gradients is not None:
            self.gradients += (self.operator.gradients or 0.0) - gradients
        return y
