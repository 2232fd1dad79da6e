"""What sets of pictures with names have in common: styles to train on, a style to test on, and how large."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from lowland.checks import one_of, whole
from lowland.data.pairs import Pairs
from lowland.data.pixels import moments, standardised
from lowland.data.tokens import tokenised
from lowland.seeds import generator

__all__ = ["SIDE", "Drawn", "PairSet"]

SIDE = 32
"""Height and width of the stored pictures, in pixels."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Drawn:
    """Concepts as they are stored.

    Args:
        texts: What each of the n concepts is called; the first words count.
        images: uint8, of shape ``(n, s, 32, 32, 3)``, in the order of the styles.
        there: Whether a concept is drawn in a style, of shape ``(n, s)``.
    """

    texts: tuple[str, ...]
    images: Tensor
    there: Tensor


@dataclass(frozen=True, kw_only=True)
class PairSet(ABC):
    """Pictures of concepts in several styles, with texts; all styles but one are for training.

    Concepts are brought into a fixed, drawn order. Those drawn in any of the other styles are trained on; those
    of them that are drawn in ``held_out`` as well are tested on, in that style: the words have been seen, the
    pictures not. Pictures are shrunk by averaging and standardised by mean and standard deviation, per channel,
    of the training pictures.

    Args:
        held_out: The style to test on.
        side: Height and width of the pictures, in pixels: 32, or a divisor of it.
        length: The most words of a text, >= 1.
        concepts: The most concepts to take. None takes all.

    Raises:
        TypeError: If a number is not whole.
        ValueError: If a number is out of its range, or there is no such style.
    """

    NAME: ClassVar[str]
    STYLES: ClassVar[tuple[str, ...]]

    held_out: str
    side: int = 16
    length: int = 8
    concepts: int | None = None

    def __post_init__(self) -> None:
        one_of("held_out", self.held_out, self.STYLES)
        for name in ("side", "length"):
            whole(name, getattr(self, name))
        if SIDE % self.side:
            raise ValueError(f"side must divide {SIDE}, got {self.side}.")
        if self.concepts is not None:
            whole("concepts", self.concepts, 4)

    @classmethod
    @abstractmethod
    def where(cls) -> Path | str | None:
        """The folder that holds the set, or words where it needs none; None if it was not found."""

    @abstractmethod
    def read(self) -> Drawn:
        """All concepts, checked, in stored order.

        Raises:
            FileNotFoundError: If the set's files were not found; says where they were looked for.
            ValueError: If a file is damaged.
        """

    def load(self) -> Pairs:
        """Read and prepare the set.

        Raises:
            FileNotFoundError: If the set's files were not found; says where they were looked for.
            ValueError: If a file is damaged, or no concept is left to test on.
        """
        drawn = self.read()
        order = torch.randperm(len(drawn.texts), generator=generator(0, self.NAME, "order"))
        held = self.STYLES.index(self.held_out)
        others = [at for at in range(len(self.STYLES)) if at != held]
        order = order[drawn.there[order][:, others].any(1)][: self.concepts]
        tested = order[drawn.there[order, held]]
        if not len(tested):
            raise ValueError(
                f"{self.NAME}: concepts must be more, none of {len(order)} is drawn as {self.held_out}."
            )
        tokens, words = tokenised([drawn.texts[row] for row in order], self.length)
        there = drawn.there[order][:, others]
        images = drawn.images[order][:, others]
        mean, sd = moments(images[there])
        shrunk = [
            _shrunk(standardised(x.flatten(0, -4), mean, sd), self.side)
            for x in (images, drawn.images[tested, held])
        ]
        return Pairs(
            images=shrunk[0].unflatten(0, there.shape),
            there=there,
            tokens=tokens,
            test_images=shrunk[1],
            test_tokens=tokens[drawn.there[order, held]],
            words=words,
            source=f"{self.NAME}, tested on {self.held_out}",
        )


def _shrunk(images: Tensor, side: int) -> Tensor:
    """Means of squares of pixels."""
    return torch.nn.functional.avg_pool2d(images, SIDE // side)
