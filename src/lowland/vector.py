"""One long vector kept as tensors by parameter name: what a method computes with."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

__all__ = ["Total", "Vector", "norm", "ratio"]

Total = Callable[[Tensor], Tensor]


class Vector:
    """Tensors by parameter name, with the arithmetic of the one vector they make up together.

    A missing name counts as zero, so gradients that exist in one pass only can be combined. Nothing here
    waits for the device: inner products and norms are scalars on it, in at least float32.

    Example:
        >>> g, h = Vector({"a": torch.tensor([3.0, 4.0])}), Vector({"b": torch.ones(1)})
        >>> g.norm().item(), sorted((g + 2 * h).parts)
        (5.0, ['a', 'b'])
    """

    __slots__ = ("_parts", "total")

    def __init__(self, parts: Mapping[str, Tensor] | None = None, total: Total | None = None) -> None:
        """``total`` sums a scalar over the processes that hold the other parts of the tensors; None is alone."""
        self._parts: dict[str, Tensor] | None = dict(parts or {})
        self.total = total

    @property
    def parts(self) -> dict[str, Tensor]:
        """The tensors by name.

        Raises:
            RuntimeError: If the vector has been given away with ``spend=``.
        """
        if self._parts is None:
            raise RuntimeError("This vector was given away with spend=; keep it by not spending it.")
        return self._parts

    def give_away(self) -> dict[str, Tensor]:
        """Hand over the tensors; the vector cannot be used afterwards."""
        parts, self._parts = self.parts, None
        return parts

    def only(self, names: frozenset[str]) -> "Vector":
        """The entries called ``names``; the others become zero."""
        return self._like({name: part for name, part in self.parts.items() if name in names})

    def map(self, function: Callable[[Tensor], Tensor]) -> "Vector":
        """``function`` of every entry; it must act element by element."""
        return self._like({name: function(part) for name, part in self.parts.items()})

    def clone(self) -> "Vector":
        """A copy that shares no storage."""
        return self.map(torch.clone)

    def dot(self, other: "Vector") -> Tensor:
        """Inner product, a scalar in at least float32 on the first tensor's device."""
        pairs = [(part, other.parts[name]) for name, part in self.parts.items() if name in other.parts]
        inner = _sum([_inner(a, b) for a, b in pairs])
        return inner if self.total is None else self.total(inner)

    def norm(self) -> Tensor:
        """Euclidean norm, a scalar in at least float32 on the first tensor's device."""
        return norm(list(self.parts.values()), total=self.total)

    def unit(self) -> "Vector":
        """The vector of length 1 with the same direction; zero where the vector is zero or not finite."""
        return ratio(1.0, self.norm()) * self

    def lerp(self, other: "Vector", weight: "float | Tensor") -> "Vector":
        """``(1 - weight) * self + weight * other``; exact at 0, at 1, and where both are the same."""
        mixed = {n: _lerp(part, other.parts[n], weight) for n, part in self.parts.items() if n in other.parts}
        mixed |= {n: ((1 - weight) * part).to(part.dtype) for n, part in self.parts.items() if n not in mixed}
        mixed |= {n: (weight * part).to(part.dtype) for n, part in other.parts.items() if n not in mixed}
        return type(other)(mixed, self.total or other.total)

    def rejected_from(self, other: "Vector") -> "Vector":
        """The part at right angles to ``other``; all of the vector where ``other`` is zero or not finite."""
        return self.plus(other, -ratio(self.dot(other), other.dot(other)))

    def plus(self, other: "Vector", factor: "float | Tensor" = 1.0) -> "Vector":
        """``self + factor * other``, in one sweep through memory."""
        shared = [name for name in self.parts if name in other.parts]
        mine, theirs = [self.parts[n] for n in shared], [other.parts[n] for n in shared]
        sums = dict(zip(shared, _add(mine, theirs, factor), strict=True))
        extra = factor * other.only(frozenset(other.parts.keys() - self.parts.keys()))
        return type(other)({**self.parts, **sums, **extra.parts}, self.total or other.total)

    def __add__(self, other: "Vector") -> "Vector":
        return self.plus(other)

    def __sub__(self, other: "Vector") -> "Vector":
        return self.plus(other, -1.0)

    def __mul__(self, factor: "float | Tensor | Vector") -> "Vector":
        if isinstance(factor, Vector):
            names = [name for name in self.parts if name in factor.parts]
            mine, theirs = [self.parts[n] for n in names], [factor.parts[n] for n in names]
            return self._like(dict(zip(names, torch._foreach_mul(mine, theirs), strict=True)) if names else {})
        if not self.parts:
            return self._like({})
        if isinstance(factor, Tensor):  # a scalar of another dtype must not change the parts' dtype
            return self.map(lambda part: (part * factor).to(part.dtype))
        return self._like(
            dict(zip(self.parts, torch._foreach_mul(list(self.parts.values()), factor), strict=True))
        )

    __rmul__ = __mul__

    def _like(self, parts: Mapping[str, Tensor]) -> "Vector":
        return Vector(parts, self.total)


def norm(tensors: list[Tensor], order: float = 2, total: Total | None = None) -> Tensor:
    """The norm of all tensors together, of a finite ``order`` >= 1, a scalar in at least float32."""
    if not tensors:
        return torch.zeros(()) if total is None else total(torch.zeros(()))
    wide = torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32
    device = tensors[0].device
    norms = torch._foreach_norm(tensors, order, dtype=wide)
    own = torch.linalg.vector_norm(torch.stack([n.to(device) for n in norms]), order)
    return own if total is None else total(own**order) ** (1 / order)


def ratio(numerator: Tensor | float, denominator: Tensor) -> Tensor:
    """``numerator / denominator``, and 0 where that is not finite or the denominator is not above 0; no sync."""
    quotient = numerator / denominator
    safe = torch.isfinite(denominator) & (denominator > 0) & torch.isfinite(quotient)
    return torch.where(safe, quotient, torch.zeros_like(quotient))


def _add(a: list[Tensor], b: list[Tensor], factor: float | Tensor) -> Sequence[Tensor]:
    if not a:
        return []
    if isinstance(factor, Tensor):
        return torch._foreach_addcmul(a, b, [factor.to(part) for part in a])
    return torch._foreach_add(a, b, alpha=factor)


def _lerp(a: Tensor, b: Tensor, weight: float | Tensor) -> Tensor:
    return torch.lerp(a, b, weight.to(a) if isinstance(weight, Tensor) else weight)


def _inner(a: Tensor, b: Tensor) -> Tensor:
    wide = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
    return torch.dot(a.reshape(-1).to(wide), b.reshape(-1).to(wide))


def _sum(terms: list[Tensor]) -> Tensor:
    if not terms:
        return torch.zeros(())
    return torch.stack([term.to(terms[0].device) for term in terms]).sum()
