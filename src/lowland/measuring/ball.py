"""Balls around zero, by what ascending inside them needs."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lowland.vector import ratio

__all__ = ["Ball"]


@dataclass(frozen=True)
class Ball:
    """All u with a norm of at most ``rho``: Euclidean (``l2``), or the largest entry (``linf``)."""

    norm: Literal["l2", "linf"]
    rho: float

    def nearest(self, u: Tensor) -> Tensor:
        """The point of the ball that is nearest to ``u``."""
        if self.norm == "linf":
            return u.clamp(-self.rho, self.rho)
        return u * ratio(self.rho, u.norm()).clamp(max=1) if u.norm() > self.rho else u

    def furthest(self, g: Tensor) -> Tensor:
        """The point of the ball that is furthest along ``g``; zero for a zero ``g`` in the Euclidean one."""
        return self.rho * g.sign() if self.norm == "linf" else g * ratio(self.rho, g.norm())

    def gap(self, u: Tensor, g: Tensor) -> float:
        """What a function with gradient ``g`` at ``u`` would still gain in the ball if it were linear, >= 0."""
        return max(0.0, g.dot(self.furthest(g) - u).item())

    def random(self, n: int, draw: torch.Generator) -> Tensor:
        """A point on the border, of length ``n``, in float64: uniform on the sphere, or a corner of the cube."""
        return self.furthest(torch.randn(n, generator=draw, dtype=torch.float64))
