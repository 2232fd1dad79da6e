"""Coloured shapes with their names, drawn here: pairs that need no files."""

from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import torch
from torch import Tensor

from lowland.data.pair_set import SIDE, Drawn, PairSet

__all__ = ["Shapes"]

COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 160, 60),
    "blue": (40, 80, 220),
    "yellow": (230, 200, 40),
    "purple": (140, 50, 170),
    "orange": (240, 140, 30),
    "grey": (130, 130, 130),
    "black": (20, 20, 20),
}
SIZES = {"small": 7.0, "large": 14.0}
PLACES = {"left": -1.0, "right": 1.0}
KINDS = ("circle", "square", "triangle", "diamond", "cross", "bar")


@dataclass(frozen=True, kw_only=True)
class Shapes(PairSet):
    """192 shapes on white, such as ``small red circle left``, in three styles: filled, outlined, striped.

    Six shapes in eight colours, two sizes and two places. A stand-in where no real pairs are at hand: small,
    always the same, and learnt within seconds. See :class:`PairSet` for the fields.

    Example:
        >>> pairs = Shapes(side=8, length=4).load()
        >>> len(pairs), pairs.shape, pairs.there.all().item(), len(pairs.words)
        (192, (3, 8, 8), True, 18)
    """

    NAME: ClassVar[str] = "shapes"
    STYLES: ClassVar[tuple[str, ...]] = ("filled", "outlined", "striped")

    held_out: str = "striped"

    @classmethod
    def where(cls) -> str:
        """Words: the set needs no folder."""
        return "drawn by the program"

    def read(self) -> Drawn:
        """All shapes, in order of their names' parts."""
        concepts = list(product(SIZES, COLOURS, KINDS, PLACES))
        images = torch.stack([torch.stack(_drawn(*concept)) for concept in concepts])
        there = torch.ones(images.shape[:2], dtype=torch.bool)
        return Drawn(texts=tuple(map(" ".join, concepts)), images=images, there=there)


def _drawn(size: str, colour: str, kind: str, place: str) -> list[Tensor]:
    """The picture of one shape in every style, each uint8 ``(32, 32, 3)``."""
    radius = SIZES[size]
    inside, core = _mask(kind, place, radius), _mask(kind, place, radius - 3)
    stripes = torch.arange(SIDE)[:, None] % 4 < 2
    return [_painted(mask, colour) for mask in (inside, inside & ~core, inside & stripes)]


def _painted(mask: Tensor, colour: str) -> Tensor:
    paint = torch.tensor(COLOURS[colour], dtype=torch.uint8)
    return torch.where(mask[..., None], paint, torch.tensor(255, dtype=torch.uint8))


def _mask(kind: str, place: str, radius: float) -> Tensor:
    """Where a shape is, ``(32, 32)``; the place moves its middle by an eighth of the picture."""
    y, x = torch.meshgrid(*[torch.arange(SIDE) - (SIDE - 1) / 2] * 2, indexing="ij")
    x = x - PLACES[place] * SIDE / 8
    across, along = x.abs(), y.abs()
    return {
        "circle": x**2 + y**2 < radius**2,
        "square": torch.maximum(across, along) < 0.85 * radius,
        "triangle": (along < radius) & (across < (y + radius) / 2),
        "diamond": across + along < radius,
        "cross": (torch.minimum(across, along) < radius / 3) & (torch.maximum(across, along) < radius),
        "bar": (along < radius / 3) & (across < radius),
    }[kind]
