"""A small transformer that reads words."""

import torch
from torch import Tensor, nn

from lowland.checks import whole
from lowland.models.vit import Block

__all__ = ["Text"]

POSITION_SD = 0.02


class Text(nn.Module):
    """Word embeddings, learned positions, pre-norm encoder blocks, norm, mean over the words, linear head.

    Token 0 fills a text up: it is a word like others to the blocks, and is left out of the mean. ``pool`` is the
    mean, ``head`` what is given back; ``blocks.0``, … are the residual stream after every block.

    Args:
        words: The number of tokens, 0 included, >= 2.
        length: Tokens of a text, >= 1.
        outputs: The number of outputs, >= 1.
        depth: The number of blocks, >= 1.
        width: Features of a token, a multiple of ``heads``.
        heads: Attention heads, >= 1.

    Raises:
        TypeError: If a number is not whole.
        ValueError: If a number is out of its range, or ``heads`` does not divide ``width``.

    Example:
        >>> text = Text(10, 4, 8, depth=1, width=16, heads=2)
        >>> text(torch.tensor([[3, 1, 0, 0], [2, 9, 4, 1]])).shape
        torch.Size([2, 8])
    """

    def __init__(
        self, words: int, length: int, outputs: int, depth: int = 2, width: int = 64, heads: int = 4
    ) -> None:
        super().__init__()
        whole("words", words, 2)
        named = {"length": length, "outputs": outputs, "depth": depth, "width": width, "heads": heads}
        for name, value in named.items():
            whole(name, value)
        if width % heads:
            raise ValueError(f"heads must divide width {width}, got {heads}.")
        self.words = nn.Embedding(words, width)
        nn.init.normal_(self.words.weight, std=POSITION_SD)
        self.positions = nn.Parameter(torch.empty(1, length, width))
        nn.init.trunc_normal_(self.positions, std=POSITION_SD)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.pool = Mean()
        self.head = nn.Linear(width, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """Outputs ``(n, outputs)`` of tokens ``(n, length)``."""
        x = self.norm(self.blocks(self.words(tokens) + self.positions))
        return self.head(self.pool(x, tokens))


class Mean(nn.Module):
    """Mean over the positions whose token is not 0."""

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """Features ``(n, t, width)`` to ``(n, width)``."""
        said = (tokens != 0).to(x.dtype)
        return (said[:, None] @ x)[:, 0] / said.sum(1, keepdim=True)
