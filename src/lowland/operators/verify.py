"""Tests that a product with second derivatives must pass before it is believed."""

import torch
from torch import Tensor

__all__ = ["refuse_asymmetric", "refuse_contradicted"]


def refuse_asymmetric(name: str, u: Tensor, Au: Tensor, v: Tensor, Av: Tensor, eps: float) -> None:
    """Refuse a matrix for which u'Av and v'Au differ by more than rounding does, for random u and v.

    A wrong second derivative of one operation nearly always shows in this, at any precision.

    Raises:
        RuntimeError: If they do.
    """
    size = (u.norm() * Av.norm() + v.norm() * Au.norm()) / (2 * len(u) ** 0.5)  # what u'Av is, but for chance
    skew = ((u.dot(Av) - v.dot(Au)).abs() / size.clamp(min=torch.finfo(u.dtype).tiny)).item()
    if skew > max(10 * eps**0.5, 1e-4):  # some models compute in float32 whatever their weights are
        raise RuntimeError(
            f"The {name} must be symmetric, got u'Av and v'Au that differ by {skew:.1e} of their size: an "
            "operation's second derivative is wrong. Try engine='finite_difference'; check=False skips this."
        )


def refuse_contradicted(name: str, Av: Tensor, near: Tensor, far: Tensor) -> None:
    """Refuse a product that finite differences contradict beyond ten times their own doubt.

    Args:
        name: Of the matrix.
        Av: The product.
        near: The same by finite differences.
        far: The same with twice the step.

    Raises:
        RuntimeError: If they do.
    """
    off, doubt, size = (x.norm().item() for x in (Av - near, far - near, Av))
    if off > 10 * doubt + 1e-6 * size:
        raise RuntimeError(
            f"The {name} must agree with finite differences, got products that differ by {off / size:.1e}, while "
            f"those are sure to {doubt / size:.1e}: an operation's second derivative is wrong. "
            "Try engine='finite_difference'; check=False skips this."
        )
