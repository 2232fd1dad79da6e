"""A small vision transformer."""

import torch
from torch import Tensor, nn

from lowland.checks import whole

__all__ = ["ViT"]

MLP_RATIO = 4
POSITION_SD = 0.02


class ViT(nn.Module):
    """Pre-norm vision transformer: patches, a class token, learned positions, encoder blocks, norm, linear head.

    ``layers`` names the residual stream after every block, ``blocks.0``, ``blocks.1``, …: outputs of shape
    ``(n, 1 + patches, width)``, whose first token is the class token that the head reads. Inside a block,
    ``norm1``, ``attention``, ``norm2``, ``expand``, ``activation`` and ``contract`` can be named as well.

    Args:
        shape: Shape ``(c, h, w)`` of one image.
        classes: The number of outputs, >= 1.
        depth: The number of blocks, >= 1.
        width: Features of a token, a multiple of ``heads``.
        heads: Attention heads, >= 1.
        patch: Side of a patch in pixels; divides ``h`` and ``w``.

    Raises:
        TypeError: If a number is not whole.
        ValueError: If a number is below 1, ``patch`` does not divide the image, or ``heads`` the width.

    Example:
        >>> vit = ViT((3, 32, 32), 10, depth=2, width=16, heads=2, patch=8)
        >>> vit(torch.zeros(2, 3, 32, 32)).shape, vit.layers
        (torch.Size([2, 10]), ('blocks.0', 'blocks.1'))

    References:
        Dosovitskiy et al., An image is worth 16x16 words, 2021. https://arxiv.org/abs/2010.11929
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        depth: int = 6,
        width: int = 128,
        heads: int = 4,
        patch: int = 4,
    ) -> None:
        super().__init__()
        _check(shape, classes, depth, width, heads, patch)
        tokens = (shape[1] // patch) * (shape[2] // patch)
        self.patches = nn.Conv2d(shape[0], width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, 1 + tokens, width))
        nn.init.trunc_normal_(self.positions, std=POSITION_SD)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)
        self.layers = tuple(f"blocks.{i}" for i in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(n, k)`` of images ``(n, c, h, w)``."""
        tokens = self.patches(x).flatten(2).mT  # (n, patches, width)
        x = torch.cat([self.token.expand(len(x), -1, -1), tokens], dim=1) + self.positions
        return self.head(self.norm(self.blocks(x)[:, 0]))


class Block(nn.Module):
    """``x + attention(norm(x))``, then ``x + mlp(norm(x))`` with a GELU."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.expand = nn.Linear(width, MLP_RATIO * width)
        self.activation = nn.GELU()
        self.contract = nn.Linear(MLP_RATIO * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ``(n, t, width)`` to tokens of the same shape."""
        x = x + self.attention(self.norm1(x))
        return x + self.contract(self.activation(self.expand(self.norm2(x))))


class Attention(nn.Module):
    """Self-attention, written out: the fused kernels have no second derivative, which Hessians need."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ``(n, t, width)`` to tokens of the same shape."""
        q, k, v = (
            self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )  # (n, heads, t, width / heads)
        weights = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, dim=-1)
        return self.out((weights @ v).transpose(1, 2).flatten(2))


def _check(shape: tuple[int, int, int], classes: int, depth: int, width: int, heads: int, patch: int) -> None:
    named = {"classes": classes, "depth": depth, "width": width, "heads": heads, "patch": patch}
    for name, value in (*zip("chw", shape, strict=True), *named.items()):
        whole(name, value)
    if shape[1] % patch or shape[2] % patch:
        raise ValueError(f"patch must divide the image's height {shape[1]} and width {shape[2]}, got {patch}.")
    if width % heads:
        raise ValueError(f"heads must divide width {width}, got {heads}.")
