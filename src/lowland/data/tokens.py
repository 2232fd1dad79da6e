"""Texts as numbers: a word is a token."""

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from lowland.checks import whole

__all__ = ["PADDING", "tokenised"]

PADDING = 0
"""The token that fills a text up."""

WORD = re.compile(r"[^\W_]+")


def tokenised(texts: Sequence[str], length: int) -> tuple[Tensor, tuple[str, ...]]:
    """The first words of every text, each said once, as numbers.

    Words are runs of letters and digits, in small letters. They are numbered from 1 in the order in which they
    appear; 0 fills up.

    Args:
        texts: Each with at least one word.
        length: The most words to take of a text, >= 1.

    Returns:
        Tokens, int64, of shape ``(n, length)``; and the words, of which the first is token 1.

    Raises:
        TypeError: If ``length`` is not a whole number.
        ValueError: If ``length`` is below 1, or a text has no word.

    Example:
        >>> tokens, words = tokenised(["Red hat, red", "hat"], 3)
        >>> tokens.tolist(), words
        ([[1, 2, 0], [2, 0, 0]], ('red', 'hat'))
    """
    whole("length", length)
    numbers: dict[str, int] = {}
    tokens = torch.full((len(texts), length), PADDING)
    for row, text in zip(tokens, texts, strict=True):
        said = list(dict.fromkeys(WORD.findall(text.lower())))[:length]
        if not said:
            raise ValueError(f"texts must have at least one word each, got {text!r}.")
        row[: len(said)] = torch.tensor([numbers.setdefault(word, len(numbers) + 1) for word in said])
    return tokens, tuple(numbers)
