"""The pre-activation residual network."""

from torch import Tensor, nn

from lowland.checks import whole

__all__ = ["ResNet"]

BLOCKS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 26: (3, 3, 3, 3), 34: (3, 4, 6, 3)}


class ResNet(nn.Module):
    """Pre-activation residual network of two-convolution blocks, for small images.

    A 3 x 3 convolution, four stages of residual blocks with ``width``, ``2 width``, ``4 width`` and ``8 width``
    channels, each but the first halving the image, then batch norm, ReLU, average pooling, a linear head.
    Depth 18 and width 64 is the PreActResNet-18 of the papers: 11.2 million weights on CIFAR-10.

    ``layers`` names ``stage1``, ``stage2``, ``stage3`` (residual stream), ``last`` (stage 4 after batch norm and
    ReLU) and ``pool`` (averaged). Paper 000 reports the rank of ``stage3``: 256 x 8 x 8 features on CIFAR-10.

    Args:
        shape: Shape ``(c, h, w)`` of one image.
        classes: The number of outputs, >= 1.
        depth: 10, 18, 26 or 34.
        width: Channels of the first stage, >= 1.

    Raises:
        TypeError: If a number is not whole.
        ValueError: If a number is below 1, or ``depth`` is not one of those.

    Example:
        >>> import torch
        >>> net = ResNet((3, 32, 32), 10, depth=10, width=4)
        >>> net(torch.zeros(2, 3, 32, 32)).shape, net.layers
        (torch.Size([2, 10]), ('stage1', 'stage2', 'stage3', 'last', 'pool'))

    References:
        He, Zhang, Ren, Sun, Identity mappings in deep residual networks, 2016. https://arxiv.org/abs/1603.05027
    """

    layers = ("stage1", "stage2", "stage3", "last", "pool")

    def __init__(self, shape: tuple[int, int, int], classes: int, depth: int = 18, width: int = 64) -> None:
        super().__init__()
        _check(shape, classes, depth, width)
        one, two, three, four = BLOCKS[depth]
        self.stem = nn.Conv2d(shape[0], width, 3, padding=1, bias=False)
        self.stage1 = _stage(width, width, one, 1)
        self.stage2 = _stage(width, 2 * width, two, 2)
        self.stage3 = _stage(2 * width, 4 * width, three, 2)
        self.stage4 = _stage(4 * width, 8 * width, four, 2)
        self.last = nn.Sequential(nn.BatchNorm2d(8 * width), nn.ReLU())
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(8 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(n, k)`` of images ``(n, c, h, w)``."""
        x = self.stage2(self.stage1(self.stem(x)))
        x = self.last(self.stage4(self.stage3(x)))
        return self.head(self.pool(x))


class Block(nn.Module):
    """Batch norm, ReLU, convolution, twice, added to its input (where shapes differ, to a 1 x 1 convolution)."""

    def __init__(self, ins: int, outs: int, stride: int) -> None:
        super().__init__()
        same = stride == 1 and ins == outs
        self.activated = nn.Sequential(nn.BatchNorm2d(ins), nn.ReLU())
        self.shortcut = None if same else nn.Conv2d(ins, outs, 1, stride, bias=False)
        self.residual = nn.Sequential(
            nn.Conv2d(ins, outs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outs),
            nn.ReLU(),
            nn.Conv2d(outs, outs, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(n, ins, h, w)`` to ``(n, outs, h / stride, w / stride)``."""
        a = self.activated(x)
        return self.residual(a) + (x if self.shortcut is None else self.shortcut(a))


def _stage(ins: int, outs: int, blocks: int, stride: int) -> nn.Sequential:
    rest = [Block(outs, outs, 1) for _ in range(blocks - 1)]
    return nn.Sequential(Block(ins, outs, stride), *rest)


def _check(shape: tuple[int, int, int], classes: int, depth: int, width: int) -> None:
    for name, value in (*zip("chw", shape, strict=True), ("classes", classes), ("width", width)):
        whole(name, value)
    if depth not in BLOCKS:
        raise ValueError(f"depth must be one of {', '.join(map(str, BLOCKS))}, got {depth}.")
