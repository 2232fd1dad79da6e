"""Moves the weights, and brings every bit of them back."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lowland.engine.aliases import shared
from lowland.engine.radius import Piece, factors_of_ball, factors_of_offset, shape
from lowland.engine.request import Ball
from lowland.vector import Total, Vector, norm

__all__ = ["Perturbation"]

SMALLEST_PIECE = 2**17
PIECES = 64


@dataclass
class Perturbation:
    """The weights at ``w + e``, with what is needed to bring them back.

    Parameters that are given themselves are pointed at ``w + e``, and then back at their own storage, which
    nothing has written to. Where storage is given its contents move, and are copied back. Works piece by piece
    where more than a sum is to be done, so that only a piece is ever held twice. A spent direction becomes the
    second copy of the weights: the step holds one extra copy of the perturbed ones in all.

    Attributes:
        weights: The parameters that move, by name; or their storage, where that must stay in its place.
        factors: How much longer or shorter a parameter's perturbation is; 1 where unnamed.
    """

    weights: Mapping[str, Tensor]
    factors: Mapping[str, float]
    _moved: list[Tensor] = field(default_factory=list)
    _backup: list[Tensor] = field(default_factory=list)
    _total: Total | None = None

    def apply(self, at: Ball | Vector, spend: Vector | None) -> tuple[Tensor, Tensor]:
        """Move the weights by ``at``.

        Returns:
            The largest factor that scaled the direction of a parameter, and the direction's norm, scalars on the
            device. A factor is zero where the norm is zero or not finite: the weights then stay.
        """
        target = at.direction if isinstance(at, Ball) else at
        names = [name for name in target.parts if name in self.weights]
        spent = spend is target
        parts = target.give_away() if spent else target.parts
        if spend is not None and not spent:
            spend.give_away()  # its storage is free before the second copy needs its own
        shaped = isinstance(at, Ball) and (at.metric is not None or at.dual != 2)
        pieces = list(_pieces(names, self.weights, parts, PIECES if shaped else 1))
        self._total = total = target.total
        if isinstance(at, Ball):
            factors, lengths, length = factors_of_ball(at, pieces, total)
        else:
            (factors, length), lengths = factors_of_offset(pieces, total), {}
        different = list(set(factors.values())) or [torch.zeros_like(length)]
        finite = length.is_cpu and all(factor > 0 for factor in different)  # on the CPU a look is free
        if isinstance(at, Ball) and at.away:
            factors = {name: -factor for name, factor in factors.items()}
        steps = {name: self._step(factors[name], name) for name in names}
        if self._points and finite and not shaped:
            moved = {name: _sum(self.weights[name], parts[name], steps[name], spent) for name in names}
        else:
            moved = {name: _taken(self.weights[name], parts[name], spent) for name in names}
            for piece, weights, e in _pieces(names, self.weights, moved, PIECES):
                if not finite:
                    _make_finite(e)
                if isinstance(at, Ball):
                    shape(e, piece, weights, at, lengths)
                self._move(weights, e, [steps[name] for name in piece])
        if self._points:
            self._point(moved)
        return torch.stack(different).amax(), length

    def restore(self) -> None:
        """Bring the weights back; safe to call again."""
        if self._points:
            for w, backup in zip(self._moved, self._backup, strict=True):
                _bring_back(w, backup)
        elif self._moved:
            torch._foreach_copy_(self._moved, self._backup)
        self._moved, self._backup = [], []

    def distance(self) -> Tensor:
        """How far the weights really are from where they were, after rounding, a scalar on the device."""
        return norm([w - backup for w, backup in zip(self._moved, self._backup, strict=True)], total=self._total)

    @property
    def _points(self) -> bool:
        return all(isinstance(w, nn.Parameter) for w in self.weights.values())

    def _point(self, moved: Mapping[str, Tensor]) -> None:
        """Point the parameters at other storage."""
        for name, there in moved.items():
            w = self.weights[name]
            self._moved.append(w)
            self._backup.append(w.data)
            w.data = there

    def _step(self, scale: Tensor, name: str) -> Tensor:
        return scale * self.factors[name] if name in self.factors else scale

    def _move(self, weights: list[Tensor], e: list[Tensor], steps: list[Tensor]) -> None:
        """Make ``e`` into ``w + steps * e``; or add it to the weights, and keep in ``e`` what they were."""
        steps = [step.to(w) for step, w in zip(steps, weights, strict=True)]
        if self._points:
            for w, part, step in zip(weights, e, steps, strict=True):
                torch.addcmul(w, part, step, out=part)
        else:
            moves = [part.clone() for part in e]
            torch._foreach_copy_(e, weights)
            self._backup += e
            self._moved += weights
            torch._foreach_addcmul_(weights, moves, steps)


def _bring_back(w: Tensor, backup: Tensor) -> None:
    """Point a parameter at its own storage; or fill the other with its values, where the pass made views of it."""
    if shared(w):
        w.copy_(backup)
    else:
        w.data = backup


def _sum(w: Tensor, d: Tensor, step: Tensor, spent: bool) -> Tensor:
    """``w + step * d``, in one sweep, in the place of ``d`` if it is spent."""
    return torch.addcmul(w, d.to(w.dtype), step.to(w), out=d if _fits(w, d, spent) else None)


def _taken(w: Tensor, d: Tensor, spent: bool) -> Tensor:
    """The direction's entries where they may be written over, laid out as the weights are."""
    return d if _fits(w, d, spent) else torch.empty_like(w, requires_grad=False).copy_(d)


def _fits(w: Tensor, d: Tensor, spent: bool) -> bool:
    return spent and d.dtype == w.dtype and d.stride() == w.stride()


def _make_finite(e: list[Tensor]) -> None:
    """Take out what a scale of zero cannot switch off."""
    for part in e:
        part.nan_to_num_(0.0, 0.0, 0.0)


def _pieces(
    names: list[str], weights: Mapping[str, Tensor], parts: Mapping[str, Tensor], number: int
) -> Iterator[Piece]:
    """About ``number`` pieces, or fewer: small tensors together and large ones cut."""
    limit = max(SMALLEST_PIECE, -(-sum(weights[name].numel() for name in names) // number))
    cuts = ((name, w, d) for name in names for w, d in _cuts(weights[name], parts[name], limit))
    piece: Piece = ([], [], [])
    filled = 0
    for name, w, d in cuts:
        if filled and filled + w.numel() > limit:
            yield piece
            piece, filled = ([], [], []), 0
        piece[0].append(name)
        piece[1].append(w)
        piece[2].append(d)
        filled += w.numel()
    if piece[0]:
        yield piece


def _cuts(w: Tensor, d: Tensor, limit: int) -> Iterable[tuple[Tensor, Tensor]]:
    """A parameter's weights with the direction's entries, cut if they are many and laid out alike."""
    dense = w.is_contiguous() or w.is_contiguous(memory_format=torch.channels_last)
    if w.numel() <= limit or w.stride() != d.stride() or not dense:
        return [(w, d)]
    flat = [torch.as_strided(t, (t.numel(),), (1,), t.storage_offset()).split(limit) for t in (w, d)]
    return zip(*flat, strict=True)
