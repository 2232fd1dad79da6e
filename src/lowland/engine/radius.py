"""How far each parameter moves: the factor on its shaped direction, from norms that never wait for the device."""

from collections.abc import Mapping

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


def factors_of_ball(
    at: Ball, pieces: list[Piece], total: Total | None
) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    """What scales each parameter's shaped direction, see :func:`shape`, and the dual norm that it is shaped with.

    A factor is zero where that norm is zero or not finite. Last comes the dual norm of all of it.
    """
    names = [name for names, _, _ in pieces for name in names]
    if at.per == "model":
        (length,) = _dual_norms(at, [pieces], total)
        factor = _factor(at.rho, length, at.dual)
        return dict.fromkeys(names, factor), dict.fromkeys(names, length), length
    tensors: dict[str, list[Piece]] = {}
    for piece in pieces:
        for name, w, d in zip(*piece, strict=True):
            tensors.setdefault(name, []).append(([name], [w], [d]))
    lengths = _dual_norms(at, list(tensors.values()), total)
    sizes = _totals([norm([w for _, (w,), _ in own]) for own in tensors.values()], 2, total)
    factors = [_factor(at.rho * size, length, at.dual) for size, length in zip(sizes, lengths, strict=True)]
    by_name = dict(zip(tensors, factors, strict=True)), dict(zip(tensors, lengths, strict=True))
    return *by_name, norm(lengths, at.dual)


def shape(
    e: list[Tensor], names: list[str], weights: list[Tensor], at: Ball, lengths: Mapping[str, Tensor]
) -> None:
    r"""Make a piece of ``s`` into :math:`T \operatorname{sign}(s) (|T s| / \lVert T s \rVert_q)^{q-1}`.

    In place; for q = 2 the norm is left to the factor.
    """
    for part, name, w in zip(e, names, weights, strict=True):
        t = None if at.metric is None else at.metric(name, w)
        if t is not None:
            part.mul_(t)
        if at.dual != 2:
            share = (part.abs() * ratio(1.0, lengths[name])).to(part.dtype)
            part.copy_(part.sign() * share ** (at.dual - 1))
        if t is not None:
            part.mul_(t)


def _dual_norms(at: Ball, groups: list[list[Piece]], total: Total | None) -> list[Tensor]:
    """The dual norm of each group; of orders but 1 and 2 by way of the Euclidean one, as powers underflow."""
    q = at.dual
    if q in (1, 2):
        return _totals([_norm(at, group, q) for group in groups], q, total)
    lengths = _totals([_norm(at, group, 2) for group in groups], 2, total)
    shares = [_norm(at, group, q, ratio(1.0, length)) for group, length in zip(groups, lengths, strict=True)]
    return [length * share for length, share in zip(lengths, _totals(shares, q, total), strict=True)]


def _norm(at: Ball, pieces: list[Piece], order: float, scale: Tensor | None = None) -> Tensor:
    """The norm of the direction's entries times the metric; with a scale in float64."""
    if at.metric is None and scale is None:
        return norm([d for _, _, direction in pieces for d in direction], order)
    norms = []
    for name, w, d in (entry for piece in pieces for entry in zip(*piece, strict=True)):
        u = d if at.metric is None else d * at.metric(name, w)
        norms.append(norm([u if scale is None else u.double() * scale], order))
    return norm(norms, order)


def _totals(norms: list[Tensor], order: float, total: Total | None) -> list[Tensor]:
    """The norms of whole tensors, of those of the process's parts."""
    if total is None or not norms:
        return norms
    return list(total(torch.stack(norms) ** order) ** (1 / order))


def _factor(rho: float | Tensor, length: Tensor, dual: float) -> Tensor:
    if dual == 2:
        return ratio(rho, length)
    return torch.where(torch.isfinite(length) & (length > 0), rho, torch.zeros_like(length))
