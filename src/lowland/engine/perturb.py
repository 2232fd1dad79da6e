"""Moves the weights in place, and brings every bit of them back."""

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

import torch
from torch import Tensor

from lowland.engine.request import Ball, Metric
from lowland.vector import Vector, norm, ratio

__all__ = ["Perturbation", "uninterrupted"]

SMALLEST_PIECE = 2**15
PIECES = 64

Piece = tuple[list[str], list[Tensor], list[Tensor]]


@dataclass
class Perturbation:
    """The weights at ``w + e``, with what is needed to bring them back.

    Works piece by piece, a piece being about a sixty-fourth of the weights, so that beside the backup only
    one piece is ever held twice. A spent direction becomes the backup: then the step holds one extra copy
    of the perturbed weights in all.

    Attributes:
        weights: The parameters that move, by name.
        factors: How much longer or shorter a parameter's perturbation is; 1 where unnamed.
    """

    weights: Mapping[str, Tensor]
    factors: Mapping[str, float]
    _journal: list[list[list[Tensor]]] = field(default_factory=list)

    def apply(self, at: Ball | Vector, spend: Vector | None) -> tuple[Tensor, Tensor]:
        """Move the weights by ``at``.

        Returns:
            The factor that scaled its direction and the direction's norm, scalars on the device. The factor is
            zero where the norm is zero or not finite: the weights then stay.
        """
        target = at.direction if isinstance(at, Ball) else at
        names = [name for name in target.parts if name in self.weights]
        spent = spend is target
        parts = target.give_away() if spent else target.parts
        metric = at.metric if isinstance(at, Ball) else None
        pieces = list(_pieces(names, self.weights, parts))
        length = _norm(pieces, metric)
        scale = ratio(at.rho, length) if isinstance(at, Ball) else torch.ones_like(length)
        for piece in pieces:
            self._move(piece, metric, scale, spent)
        return scale, length

    def restore(self) -> None:
        """Copy the weights back; safe to call again."""
        while self._journal:
            moved, backup = self._journal[-1]
            torch._foreach_copy_(moved, backup)
            self._journal.pop()

    def distance(self) -> Tensor:
        """How far the weights really are from where they were, after rounding, a scalar on the device."""
        lengths = [norm(list(torch._foreach_sub(moved, backup))) for moved, backup in self._journal]
        return torch.linalg.vector_norm(torch.stack(lengths)) if lengths else torch.zeros(())

    def _move(self, piece: Piece, metric: Metric | None, scale: Tensor, spent: bool) -> None:
        names, weights, direction = piece
        backup = [w.clone() for w in weights]
        self._journal.append([weights, backup])
        e = direction if spent else [d.clone() for d in direction]
        finite = scale.is_cpu and bool(scale > 0)  # on the CPU a look costs nothing
        for name, w, d in zip(names, weights, e, strict=True):
            if not finite:
                d.nan_to_num_(0.0, 0.0, 0.0)  # zero times infinity is not zero
            if metric is not None:
                t = metric(name, w)
                d.mul_(t).mul_(t)
            step = scale * self.factors[name] if name in self.factors else scale
            w.addcmul_(d, step.to(w))
        if spent:
            torch._foreach_copy_(direction, backup)
            self._journal[-1][1] = direction


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back Ctrl-C until the block is done, so that a copy is never left half-way."""
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or previous is None:
        yield
        return
    caught: list[FrameType | None] = []
    signal.signal(signal.SIGINT, lambda _, frame: caught.append(frame))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
        if caught and callable(previous):
            previous(signal.SIGINT, caught[0])


def _norm(pieces: list[Piece], metric: Metric | None) -> Tensor:
    if metric is None:
        return norm([d for _, _, direction in pieces for d in direction])
    lengths = [norm([d * metric(name, w) for name, w, d in zip(*piece, strict=True)]) for piece in pieces]
    return torch.linalg.vector_norm(torch.stack(lengths)) if lengths else torch.zeros(())


def _pieces(names: list[str], weights: Mapping[str, Tensor], parts: Mapping[str, Tensor]) -> Iterator[Piece]:
    """Small tensors together and large ones cut, so that no piece is much longer than the limit."""
    limit = max(SMALLEST_PIECE, sum(weights[name].numel() for name in names) // PIECES)
    piece: Piece = ([], [], [])
    filled = 0
    for name in names:
        for w, d in _cuts(weights[name], parts[name], limit):
            if filled and filled + w.numel() > limit:
                yield piece
                piece, filled = ([], [], []), 0
            for column, value in zip(piece, (name, w, d), strict=True):
                column.append(value)  # type: ignore[arg-type]
            filled += w.numel()
    if filled:
        yield piece


def _cuts(w: Tensor, d: Tensor, limit: int) -> Iterator[tuple[Tensor, Tensor]]:
    alike = w.stride() == d.stride() and (w.is_contiguous() or w.is_contiguous(memory_format=torch.channels_last))
    if w.numel() <= limit or not alike:
        yield w, d
        return
    flat = [torch.as_strided(t, (t.numel(),), (1,), t.storage_offset()).split(limit) for t in (w, d)]
    yield from zip(*flat, strict=True)
