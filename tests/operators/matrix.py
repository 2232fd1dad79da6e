"""An operator that is a matrix that is held."""

from lowland.operators.operator import Operator


class Matrix(Operator):
    def __init__(self, A, symmetric=False):
        super().__init__(tuple(A.shape), A.dtype, A.device, symmetric=symmetric)
        self.A = A

    def multiply(self, block):
        return self.A @ block
