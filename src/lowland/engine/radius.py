"""How far each parameter moves: the factor on its shaped direction, from norms that never wait for the device."""

import torch
from torch import Tensor

from lowland.engine.request import Ball
from lowland.vector import Total, norm, ratio

__all__ = ["Piece", "factors_of_ball", "factors_of_offset", "shape"]

Piece = tuple[list[str], list[Tensor], list[Tensor]]
"""Names of parameters, some of their weights, and the direction's entries for those."""


def factors_of_offset(pieces: list[Piece], total: Total | None) -> tuple[dict[str, Tensor], Tensor]:
    """1 for every parameter, or 0 where the offset is zero or not finite; and the offset's norm."""
    length = norm([d for _, _, direction in pieces for d in direction], total=total)
    one = torch.where(torch.isfinite(length) & (length > 0), torch.ones_like(length), torch.zeros_like(length))
    return {name: one for names, _, _ in pieces for name in names}, length


def factors_of_ball(at: Ball, pieces: list[Piece], total: Total | None) -> tuple[dict[str, Tensor], Tensor]:
    """What scales each parameter's shaped direction, see :func:`shape`; and the dual norm of all of it.

    Zero where the norm is zero or not finite.
    """
    if at.per == "model":
        length = _dual_norm(at, pieces, total)
        factor = _factor(at.rho, length, at.dual)
        return {name: factor for names, _, _ in pieces for name in names}, length
    tensors: dict[str, list[Piece]] = {}
    for piece in pieces:
        for name, w, d in zip(*piece, strict=True):
            tensors.setdefault(name, []).append(([name], [w], [d]))
    lengths = _totals([_dual_norm(at, own, None) for own in tensors.values()], at.dual, total)
    sizes = _totals([norm([w for _, (w,), _ in own]) for own in tensors.values()], 2, total)
    factors = [_factor(at.rho * size, length, at.dual) for size, length in zip(sizes, lengths, strict=True)]
    return dict(zip(tensors, factors, strict=True)), norm(lengths, at.dual)


def shape(e: list[Tensor], names: list[str], weights: list[Tensor], at: Ball) -> None:
    """Make a piece of the direction ``s`` into ``T sign(s) |T s|**(q - 1)``, in place."""
    stretch = (
        [None] * len(e) if at.metric is None else [at.metric(*pair) for pair in zip(names, weights, strict=True)]
    )
    for part, t in zip(e, stretch, strict=True):
        if t is not None:
            part.mul_(t)
        if at.dual != 2:
            part.copy_(part.sign() * part.abs() ** (at.dual - 1))
        if t is not None:
            part.mul_(t)


def _dual_norm(at: Ball, pieces: list[Piece], total: Total | None) -> Tensor:
    metric = at.metric
    if metric is None:
        return norm([d for _, _, direction in pieces for d in direction], at.dual, total)
    stretched = [norm([d * metric(name, w)], at.dual) for p in pieces for name, w, d in zip(*p, strict=True)]
    return norm(stretched, at.dual, total)


def _totals(norms: list[Tensor], order: float, total: Total | None) -> list[Tensor]:
    """The norms of whole tensors, of those of the process's parts."""
    if total is None or not norms:
        return norms
    return list(total(torch.stack(norms) ** order) ** (1 / order))


def _factor(rho: float | Tensor, length: Tensor, dual: float) -> Tensor:
    factor = ratio(rho, length)
    return factor if dual == 2 else factor * length ** (2 - dual)
