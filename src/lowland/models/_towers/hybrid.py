"""A vision transformer that reads the maps of a few convolutions instead of patches."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lowland.checks import whole
from lowland.models.conv import Conv
from lowland.models.vit import Block

__all__ = ["Hybrid"]

POSITION_SD = 0.02


class Hybrid(nn.Module):
    """Convolutions, a class token, learned positions, pre-norm encoder blocks, norm, linear head.

    ``stem`` is the convolutions of :class:`lowland.models.conv.Conv`, each halving the image where it is large
    enough; every place of their last map is a token. ``blocks.0``, … are the residual stream after every block,
    as in :class:`lowland.models.vit.ViT`, the class token first. Small images are learnt in fewer steps than from
    patches.

    Args:
        shape: Shape ``(c, h, w)`` of one image.
        outputs: The number of outputs, >= 1.
        stem: Channels of the convolutions but the last, which has ``width``.
        depth: The number of blocks, >= 1.
        width: Features of a token, a multiple of ``heads``.
        heads: Attention heads, >= 1.

    Raises:
        TypeError: If a number is not whole.
        ValueError: If a number is below 1, or ``heads`` does not divide ``width``.

    Example:
        >>> Hybrid((3, 16, 16), 8, stem=(4, 8), depth=1, width=16, heads=2)(torch.zeros(2, 3, 16, 16)).shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        outputs: int,
        stem: Sequence[int] = (32, 64),
        depth: int = 3,
        width: int = 64,
        heads: int = 4,
    ) -> None:
        super().__init__()
        for name, value in {"outputs": outputs, "depth": depth, "width": width, "heads": heads}.items():
            whole(name, value)
        if width % heads:
            raise ValueError(f"heads must divide width {width}, got {heads}.")
        convolutions = Conv(shape, outputs, widths=(*stem, width))
        tokens = convolutions.head.in_features // width
        self.stem = convolutions.blocks
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, 1 + tokens, width))
        nn.init.trunc_normal_(self.positions, std=POSITION_SD)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs ``(n, outputs)`` of images ``(n, c, h, w)``."""
        tokens = self.stem(x).flatten(2).mT  # (n, places, width)
        x = torch.cat([self.token.expand(len(x), -1, -1), tokens], dim=1) + self.positions
        return self.head(self.norm(self.blocks(x)[:, 0]))
