"""Planted shortcuts: a patch in every image that names a class, the image's own or another."""

from typing import Literal

import torch
from torch import Tensor

from lowland.checks import fraction, one_of
from lowland.data.dataset import Split
from lowland.data.noise import noisy

__all__ = ["patched", "shortcut"]

Kind = Literal["place", "shade"]

DARK, BRIGHT = -1.0, 2.0
"""Of patches, in standard deviations from the mean of the images: about black and white in every set here."""

COARSEST = 4


def shortcut(
    split: Split, agreement: float, classes: int, generator: torch.Generator, kind: Kind = "place"
) -> Split:
    """The same examples, each with a patch that names its label, or, in exactly the rest of them, another class.

    Args:
        split: Standardised images and their labels; where labels are wrong, the patch goes with the wrong ones.
        agreement: Share of images whose patch names their label, in ``[0, 1]``; at 0 every patch misleads.
        classes: The number of classes, at least 2 where ``agreement < 1``.
        generator: Source of randomness, on the CPU: which patches mislead, and to which class.
        kind: What names a class, see :func:`patched`.

    Returns:
        A new split with the same labels.

    Raises:
        TypeError: If ``agreement`` is not a number.
        ValueError: If ``agreement`` is outside ``[0, 1]``, or as :func:`patched`.

    Example:
        >>> split = Split(torch.zeros(4, 1, 8, 8), torch.tensor([0, 1, 2, 3]))
        >>> shortcut(split, 1.0, 10, torch.Generator()).x[2, 0, 0].tolist()
        [0.0, 0.0, 0.0, 0.0, 2.0, 2.0, 0.0, 0.0]
    """
    fraction("agreement", agreement)
    named = noisy(split.y.cpu(), 1 - agreement, classes, generator)
    return Split(patched(split.x, named.to(split.y.device), classes, kind), split.y)


def patched(x: Tensor, named: Tensor, classes: int, kind: Kind = "place") -> Tensor:
    """Images with a patch that names a class, by where it is or by how bright it is.

    The image is cut into g x g squares, g at least 4 and large enough for the classes. ``place``: a bright square
    of those along the border, clockwise from the top left one, one place per class. ``shade``: the top left
    square, from dark for the first class to bright for the last. All channels alike.

    Args:
        x: Standardised images, of shape ``(n, c, h, w)``.
        named: The class that each patch names, of shape ``(n,)``.
        classes: The number of classes.
        kind: ``place`` or ``shade``.

    Returns:
        New images, of shape ``(n, c, h, w)``.

    Raises:
        ValueError: If ``kind`` is unknown, or the images are too small to have a place for every class.
    """
    one_of("kind", kind, ["place", "shade"])
    g = max(COARSEST, -(-classes // 4) + 1)
    h, w = (side // g for side in x.shape[2:])
    if not min(h, w):
        raise ValueError(
            f"images must be at least {g} x {g} pixels to have a place for each of {classes} classes, "
            f"got {x.shape[2]} x {x.shape[3]}."
        )
    found = x.clone()
    for label in named.unique().tolist():
        row, column = _place(label, g) if kind == "place" else (0, 0)
        shade = BRIGHT if kind == "place" else DARK + (BRIGHT - DARK) * label / max(classes - 1, 1)
        rows = torch.nonzero(named == label).flatten()
        found[rows, :, row * h : (row + 1) * h, column * w : (column + 1) * w] = shade
    return found


def _place(label: int, g: int) -> tuple[int, int]:
    """Row and column of a square along the border of g x g, clockwise from the top left one."""
    side, along = divmod(label, g - 1)
    return ((0, along), (along, g - 1), (g - 1, g - 1 - along), (g - 1 - along, 0))[side]
