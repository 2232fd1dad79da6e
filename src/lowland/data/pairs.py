"""Pictures with their names, ready for training: the same concepts drawn in several styles."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from lowland.checks import whole
from lowland.seeds import generator

__all__ = ["PairBatches", "Pairs", "galleries"]

Batch = tuple[tuple[Tensor, Tensor], Tensor]
"""Images ``(b, c, h, w)`` with tokens ``(b, t)``; and which text belongs to each image, ``0, 1, ... b - 1``."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Pairs:
    """n concepts to train on, drawn in up to s styles, and m of them to test on, drawn in another.

    Args:
        images: Standardised, float32, of shape ``(n, s, c, h, w)``.
        there: Whether a concept is drawn in a style, of shape ``(n, s)``; at least one of a row is True.
        tokens: Of the concepts' texts, int64, of shape ``(n, t)``; 0 fills up.
        test_images: Of shape ``(m, c, h, w)``.
        test_tokens: Of shape ``(m, t)``.
        words: What the tokens stand for; token i is ``words[i - 1]``.
        source: Where the pictures come from, in words.
    """

    images: Tensor
    there: Tensor
    tokens: Tensor
    test_images: Tensor
    test_tokens: Tensor
    words: tuple[str, ...]
    source: str

    def __len__(self) -> int:
        """The number of concepts to train on."""
        return len(self.tokens)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape ``(c, h, w)`` of one image."""
        c, h, w = self.images.shape[2:]
        return c, h, w

    def to(self, device: torch.device | str) -> Self:
        """The same data on ``device``."""
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **{name: value.to(device) for name, value in tensors.items()})


class PairBatches:
    """Shuffled batches of concepts, each in a style that is drawn anew in every epoch.

    No concept is twice in a batch, so that every text that does not belong to an image is a wrong one. What does
    not fill a batch at the end of an epoch is left out, because the contrastive loss depends on the size of a
    batch. Nothing is remembered between calls: any batch of any epoch can be had again, bit for bit.

    Args:
        pairs: The concepts; batches are made on their device.
        size: Concepts in a batch, >= 2; fewer if there are not as many.
        seed: Of the order and the styles.

    Raises:
        TypeError: If ``size`` is not a whole number.
        ValueError: If ``size`` is below 2.
    """

    def __init__(self, pairs: Pairs, size: int, *, seed: int) -> None:
        whole("size", size, 2)
        self.pairs, self.size, self.seed = pairs, min(size, len(pairs)), seed

    def __len__(self) -> int:
        """Batches per epoch."""
        return len(self.pairs) // self.size

    def epoch(self, k: int, start: int = 0) -> Iterator[Batch]:
        """Batches ``start``, ``start + 1``, … of epoch ``k``."""
        pairs, n = self.pairs, len(self.pairs)
        order = torch.randperm(n, generator=generator(self.seed, "order", k))
        style = torch.multinomial(pairs.there.cpu().float(), 1, generator=generator(self.seed, "style", k))[:, 0]
        for rows in order.split(self.size)[start : len(self)]:
            yield _batch(pairs.images[rows, style[rows]], pairs.tokens[rows])


def galleries(pairs: Pairs, size: int, split: str = "test") -> list[Batch]:
    """Groups of ``size`` pairs among which a text is sought for each image, and an image for each text.

    Args:
        pairs: The concepts.
        size: Pairs in a gallery, >= 2; fewer if there are not as many. What is left over is left out.
        split: ``test``, or ``train``: every concept in the first style that it is drawn in.

    Returns:
        The galleries, always the same.

    Raises:
        TypeError: If ``size`` is not a whole number.
        ValueError: If ``size`` is below 2.
    """
    whole("size", size, 2)
    if split == "test":
        images, tokens = pairs.test_images, pairs.test_tokens
    else:
        first = pairs.there.int().argmax(1)
        images, tokens = pairs.images[torch.arange(len(first)), first], pairs.tokens
    size = min(size, len(tokens))
    parts = zip(images.split(size), tokens.split(size), strict=True)
    return [_batch(x, t) for x, t in parts if len(t) == size]


def _batch(images: Tensor, tokens: Tensor) -> Batch:
    return (images, tokens), torch.arange(len(tokens), device=tokens.device)
