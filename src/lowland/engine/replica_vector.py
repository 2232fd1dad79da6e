"""A long vector for each of several replicas, kept as tensors by parameter name: what a method computes with."""

from collections.abc import Mapping

import torch
from torch import Tensor

from lowland.engine.request import Ball
from lowland.vector import Vector, ratio

__all__ = ["ReplicaVector", "farthest", "finite"]


class ReplicaVector(Vector):
    """Tensors of shape ``(replicas, ...)`` by name: one long vector per replica.

    Inner products and norms have shape ``(replicas,)``, and a factor of that shape is one per replica, so that a
    method's arithmetic means the same as it does for a single network. A missing name counts as zero.

    Example:
        >>> v = ReplicaVector({"a": torch.tensor([[3.0, 4.0], [0.0, 2.0]])})
        >>> v.norm(), v.unit().parts["a"]
        (tensor([5., 2.]), tensor([[0.6000, 0.8000],
                [0.0000, 1.0000]]))
    """

    __slots__ = ()

    def dot(self, other: Vector) -> Tensor:
        """Inner product of each replica, of shape ``(replicas,)``, in at least float32."""
        shared = [name for name in self.parts if name in other.parts]
        if not shared:
            return torch.zeros(())
        return (_rows([self.parts[n] for n in shared]) * _rows([other.parts[n] for n in shared])).sum(1)

    def norm(self) -> Tensor:
        """Euclidean norm of each replica, of shape ``(replicas,)``, in at least float32."""
        return _lengths(list(self.parts.values())) if self.parts else torch.zeros(())

    def lerp(self, other: Vector, weight: float | Tensor) -> "ReplicaVector":
        """``(1 - weight) * self + weight * other``; exact at 0, at 1, and where both are the same."""
        mine, theirs = self.parts, other.parts
        mixed = {n: torch.lerp(p, theirs[n], _aligned(weight, p)) for n, p in mine.items() if n in theirs}
        extra = {n: p * _aligned(1 - weight, p) for n, p in mine.items() if n not in theirs}
        extra |= {n: p * _aligned(weight, p) for n, p in theirs.items() if n not in mine}
        return ReplicaVector(mixed | extra)

    def plus(self, other: Vector, factor: float | Tensor = 1.0) -> "ReplicaVector":
        """``self + factor * other``."""
        mine, theirs = self.parts, other.parts
        sums = {n: _plus(p, theirs[n], factor) for n, p in mine.items() if n in theirs}
        extra = {n: p * _aligned(factor, p) for n, p in theirs.items() if n not in mine}
        return ReplicaVector({**mine, **sums, **extra})

    def __mul__(self, factor: float | Tensor | Vector) -> "ReplicaVector":
        if isinstance(factor, Vector):
            theirs = factor.parts
            return ReplicaVector({n: p * theirs[n] for n, p in self.parts.items() if n in theirs})
        return ReplicaVector({n: p * _aligned(factor, p) for n, p in self.parts.items()})

    __rmul__ = __mul__

    def _like(self, parts: Mapping[str, Tensor]) -> "ReplicaVector":
        return ReplicaVector(parts)


def farthest(at: Ball, weights: Mapping[str, Tensor]) -> ReplicaVector:
    """The point of each replica's ball that lies furthest in its direction; see :class:`Ball`.

    Args:
        at: The ball; its radius may be a tensor of shape ``(replicas,)``.
        weights: What is perturbed, by name, of shape ``(replicas, ...)``.

    Returns:
        The perturbation: zero for a replica whose direction is zero or not finite.
    """
    metric = {name: at.metric(name, w) for name, w in weights.items()} if at.metric else None
    direction = ReplicaVector({name: p for name, p in at.direction.parts.items() if name in weights})
    u = direction if metric is None else direction * Vector(metric)
    balls = [list(u.parts)] if at.per == "model" else [[name] for name in u.parts]
    parts: dict[str, Tensor] = {}
    for names in balls:
        rho = at.rho if at.per == "model" else at.rho * _lengths([weights[name] for name in names])
        parts |= _on_sphere({name: u.parts[name] for name in names}, rho, at.dual)
    e = ReplicaVector(parts) if metric is None else ReplicaVector(parts) * Vector(metric)
    return e * -1.0 if at.away else e


def finite(offset: Vector) -> ReplicaVector:
    """The offset of each replica, zero where its norm is zero or not finite."""
    sound = torch.isfinite(offset.norm())
    return ReplicaVector({n: torch.where(_in_line(sound, p), p, 0.0) for n, p in offset.parts.items()})


def _on_sphere(u: Mapping[str, Tensor], rho: float | Tensor, dual: float) -> dict[str, Tensor]:
    """``rho sign(u) (|u| / |u|_q)^(q - 1)`` of each replica, zero where the norm is zero or not finite."""
    length = _lengths(list(u.values()), dual) if u else torch.zeros(())
    sound = torch.isfinite(length) & (length > 0)
    inverse = ratio(1.0 if dual != 2 else rho, length)
    found = {}
    for name, part in u.items():
        e = part * _aligned(inverse, part)
        if dual != 2:
            e = e.sign() * e.abs() ** (dual - 1) * _aligned(rho, part)
        found[name] = torch.where(_in_line(sound, part), e, 0.0)
    return found


def _lengths(tensors: list[Tensor], order: float = 2) -> Tensor:
    """The norm of all tensors together for each replica, of shape ``(replicas,)``, in at least float32.

    Of orders but 1 and 2 by way of the Euclidean one, as powers underflow.
    """
    rows = _rows(tensors)
    if order in (1, 2):
        return torch.linalg.vector_norm(rows, order, dim=1)
    size = torch.linalg.vector_norm(rows, dim=1)
    shares = rows.double() * ratio(1.0, size)[:, None]
    return size * torch.linalg.vector_norm(shares, order, dim=1)


def _plus(part: Tensor, other: Tensor, factor: float | Tensor) -> Tensor:
    if isinstance(factor, Tensor):
        return torch.addcmul(part, other, _in_line(factor, part).to(part.dtype))
    return torch.add(part, other, alpha=factor)


def _aligned(factor: float | Tensor, part: Tensor) -> float | Tensor:
    """A factor, or one for each replica, in the precision of ``part`` and in line with its replicas."""
    return _in_line(factor, part).to(part.dtype) if isinstance(factor, Tensor) else factor


def _in_line(each: Tensor, part: Tensor) -> Tensor:
    """A scalar as it is; one for each replica with as many axes as ``part`` has."""
    return each.reshape(-1, *[1] * (part.ndim - 1)) if each.ndim else each


def _rows(tensors: list[Tensor]) -> Tensor:
    """All tensors together, a row per replica, in at least float32."""
    rows = torch.cat([tensor.reshape(len(tensor), -1) for tensor in tensors], 1)
    return rows.to(torch.promote_types(rows.dtype, torch.float32))
