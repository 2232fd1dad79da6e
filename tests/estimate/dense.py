"""Operators with nothing to hide, and spectra to put into them."""

import torch

from lowland.operators.operator import Operator

float64 = torch.float64


class Dense(Operator):
    """A matrix whose every entry is known; a product costs two gradients."""

    def __init__(self, matrix, symmetric=True):
        super().__init__(tuple(matrix.shape), matrix.dtype, matrix.device, symmetric=symmetric)
        self.matrix = matrix

    @property
    def gradients(self):
        return 2.0 * self.products

    def multiply(self, block):
        return self.matrix @ block

    def multiply_transposed(self, block):
        return self.matrix.T @ block


class Diagonal(Operator):
    """A large one; what its products cost is unknown."""

    def __init__(self, values):
        super().__init__((len(values), len(values)), values.dtype, values.device, symmetric=True)
        self.values = values

    def multiply(self, block):
        return self.values[:, None] * block


def rotation(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(n, n, dtype=float64, generator=generator)).Q


def rotated(values, seed=0):
    """A full matrix with these eigenvalues."""
    values = torch.as_tensor(values, dtype=float64)
    Q = rotation(len(values), seed)
    matrix = Q @ (values[:, None] * Q.T)
    return (matrix + matrix.T) / 2


def outliers_over_a_bulk(n=20_000, outliers=(10.0, 8.0, 6.0, 4.5, 3.0), dtype=float64):
    """A few eigenvalues above many from -1 to 1."""
    bulk = torch.linspace(-1, 1, n - len(outliers), dtype=float64)
    return torch.cat([torch.tensor(outliers, dtype=float64), bulk]).to(dtype)
