"""An orthonormal basis in which a large symmetric matrix is small, grown product by product."""

import numpy as np
import torch
from torch import Tensor

from lowland.estimate.meter import Meter
from lowland.estimate.ritz import Ritz
from lowland.seeds import generator

__all__ = ["ROUNDINGS", "Lanczos"]

PIECE = 1 << 15
"""Columns of the basis taken at a time: a processor's sums of more float32 numbers lose digits, and are slower."""

ROUNDINGS = 200
"""Rounding errors a result may have gathered; what is left of a product below so many counts as nothing."""


class Lanczos:
    r"""Orthonormal rows Q with :math:`A\,Q_{<m}^T = Q_{<f}^T H`: the first m are multiplied, the rest wait.

    H holds all products as they were measured, so the residual of an approximate eigenvector is read off it
    without another product, and a matrix that is not symmetric, or not the same each time, contradicts itself
    there. Rows are at right angles to ``sqrt(eps)``: a second pass of Gram-Schmidt is made only where the slope
    that one pass may leave, reckoned from those before, would be more.

    Args:
        operator: The symmetric matrix A, of side n.
        size: Vectors that may be multiplied between restarts.
        block: Vectors that may wait.
        seed: Of the random vectors.

    Cost:
        Memory ``(size + block) n``. A step is one product, two passes over the basis, and one wait for the device.

    References:
        Ruhe, Implementation aspects of band Lanczos algorithms, 1979. Simon, The Lanczos algorithm with partial
        reorthogonalization, 1984 (why ``sqrt(eps)`` suffices). Wu, Simon, Thick-restart Lanczos method for large
        symmetric eigenvalue problems, 2000.
    """

    def __init__(self, operator: Meter, size: int, block: int = 1, seed: int = 0) -> None:
        like = operator.operator
        self.operator, self.n, self.size, self.seed = operator, like.shape[0], size, seed
        rows = min(size + block, self.n + 1)
        self.Q = torch.empty(rows, self.n, dtype=like.dtype, device=like.device)
        self.eps = torch.finfo(like.dtype).eps
        self.drawn = 0
        self.clear()

    def clear(self) -> None:
        """Forget the basis."""
        self.H = np.zeros((len(self.Q), len(self.Q)))
        self.done = self.filled = 0
        self.scale = self.lost = 0.0
        self.slope = self.eps

    @property
    def exhausted(self) -> bool:
        """Whether no vector waits: the basis spans an invariant space."""
        return self.done == self.filled

    @property
    def rounding(self) -> float:
        """Size of the rounding errors of a residual."""
        return ROUNDINGS * self.eps * self.scale

    def add(self, vector: Tensor) -> bool:
        """Let the part of a vector that is new to the basis wait; False where nothing is new."""
        row = self.Q[self.filled]
        row.copy_(vector / _length(vector))
        length = [self._orthogonalise()[1] for _ in range(2)][-1]
        if not length > self.eps**0.5:
            return False
        row.div_(length)
        self.filled += 1
        return True

    def draw(self) -> None:
        """Let a random vector wait; the basis must not be the whole space."""
        while not self.add(self.random()):
            pass

    def random(self) -> Tensor:
        """The next random vector, of normal entries; the same on every device."""
        self.drawn += 1
        chance = generator(self.seed, "lanczos", self.drawn)
        return torch.randn(self.n, generator=chance, dtype=self.Q.dtype).to(self.Q.device)

    def step(self) -> None:
        """Multiply the first vector that waits, and let what is new in the product wait.

        Raises:
            ValueError: If the product is not finite.
        """
        f, j = self.filled, self.done
        self.Q[f].copy_(self.operator @ self.Q[j])
        h, after = self._orthogonalise()
        before = float(np.linalg.norm([*h, after]))
        if not np.isfinite(before):
            raise ValueError(
                f"Products with the operator must be finite, got nan or inf in product {self.operator.products}: "
                "look for it in the model's weights, data and loss."
            )
        slope = (self.slope * np.linalg.norm(h) + self.eps * before) / max(after, 1e-300)
        if slope > self.eps**0.5:
            more, after = self._orthogonalise()
            h, slope = h + more, self.eps
        self.slope = max(self.slope, slope)
        self.H[:f, j] = h
        self.done += 1
        self.scale = max(self.scale, before)
        if f == self.n or after <= self.rounding:
            self.lost = max(self.lost, after)
            return
        self.Q[f].div_(after)
        self.H[f, j] = after
        self.filled += 1

    def ritz(self) -> Ritz:
        """Eigenpairs of the matrix within the basis."""
        m = self.done
        H = self.H[:m, :m]
        values, S = np.linalg.eigh((H + H.T) / 2)
        residuals = np.linalg.norm(self.H[m : self.filled, :m] @ S, axis=0)
        return Ritz(values, S, np.hypot(residuals, self.lost), np.linalg.norm((H - H.T) @ S, axis=0) / 2)

    def vectors(self, S: np.ndarray) -> Tensor:
        """Vectors of shape ``(n, k)`` from their coordinates in the basis, of shape ``(m, k)``."""
        return self.Q[: self.done].T @ self._like(S)

    def restart(self, S: np.ndarray) -> None:
        """Shrink to the approximate eigenvectors with coordinates S, of shape ``(m, l)``; what waits stays."""
        (m, kept), waiting = S.shape, self.filled - self.done
        turn = self._like(S).T
        for piece in self.Q.split(PIECE, dim=1):
            piece[:kept] = turn @ piece[:m]
            piece[kept : kept + waiting] = piece[m : m + waiting].clone()
        H = np.zeros_like(self.H)
        H[:kept, :kept] = S.T @ self.H[:m, :m] @ S
        H[kept : kept + waiting, :kept] = self.H[m : m + waiting, :m] @ S
        self.H, self.done, self.filled = H, kept, kept + waiting

    def _orthogonalise(self) -> tuple[np.ndarray, float]:
        """Take the basis out of the row after it; the coefficients, and the length that is left."""
        Q, w = self.Q[: self.filled], self.Q[self.filled]
        h = torch.zeros(self.filled, dtype=w.dtype, device=w.device)
        piece = PIECE if w.device.type == "cpu" else self.n
        for part, x in zip(Q.split(piece, dim=1), w.split(piece), strict=True):
            h.addmv_(part, x)
        w.addmv_(Q.T, h, alpha=-1)
        numbers = torch.cat([h, _length(w)[None]]).double().cpu().numpy()
        return numbers[:-1], float(numbers[-1])

    def _like(self, S: np.ndarray) -> Tensor:
        return torch.as_tensor(S, dtype=self.Q.dtype, device=self.Q.device)


def _length(w: Tensor) -> Tensor:
    """The norm of a vector, as a sum that torch adds up in a tree; its norms of float32 lose three digits more."""
    return w.square().sum().sqrt()
