"""The pre-activation residual network."""

from torch import Tensor, nn

from lowland.checks import whole
from lowland.models._activations.choice import Make, activation_maker

__all__ = ["ResNet"]

BLOCKS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 26: (3, 3, 3, 3), 34: (3, 4, 6, 3)}


class ResNet(nn.Module):
    """Pre-activation residual network of two-convolution blocks, for small images.

    A 3 x 3 convolution, four stages of residual blocks with ``width``, ``2 width``, ``4 width`` and ``8 width``
    channels, each but the first halving the image, then batch norm, activation, average pooling, a linear head.
    Depth 18 and width 64 is the PreActResNet-18 of the papers: 11.2 million weights on CIFAR-10.

    ``layers`` names ``stage1``, ``stage2``, ``stage3`` (residual stream), ``last`` (stage 4 after batch norm and
    activation) and ``pool`` (averaged). Paper 000 reports the rank of ``stage3``: 256 x 8 x 8 features on
    CIFAR-10.

    Args:
        shape: Shape ``(c, h, w)`` of one image.
        classes: The number of outputs, >= 1.
        depth: 10, 18, 26 or 34.
        width: Channels of the first stage, >= 1.
        activation: ``relu``, or another of :class:`~lowland.models.mlp.MLP`'s.

    Raises:
        TypeError: If a number is not whole, or ``activation`` takes no such argument.
        ValueError: If a number is out of its range, or ``depth`` or ``activation`` is not one of those.

    Example:
        >>> import torch
        >>> net = ResNet((3, 32, 32), 10, depth=10, width=4)
        >>> net(torch.zeros(2, 3, 32, 32)).shape, net.layers
        (torch.Size([2, 10]), ('stage1', 'stage2', 'stage3', 'last', 'pool'))

    References:
        He, Zhang, Ren, Sun, Identity mappings in deep residual networks, 2016. https://arxiv.org/abs/1603.05027
    """

    layers = ("stage1", "stage2", "stage3", "last", "pool")

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        depth: int = 18,
        width: int = 64,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        _check(shape, classes, depth, width)
        one, two, three, four = BLOCKS[depth]
        make = activation_maker(activation)
        self.stem = nn.Conv2d(shape[0], width, 3, padding=1, bias=False)
        self.stage1 = _stage(width, width, one, 1, make)
        self.stage2 = _stage(width, 2 * width, two, 2, make)
        self.stage3 = _stage(2 * width, 4 * width, three, 2, make)
        self.stage4 = _stage(4 * width, 8 * width, four, 2, make)
        self.last = nn.Sequential(nn.BatchNorm2d(8 * width), make())
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(8 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(n, k)`` of images ``(n, c, h, w)``."""
        x = self.stage2(self.stage1(self.stem(x)))
        x = self.last(self.stage4(self.stage3(x)))
        return self.head(self.pool(x))


class Block(nn.Module):
    """Batch norm, activation, convolution, twice, added to its input (where shapes differ, convolved 1 x 1)."""

    def __init__(self, ins: int, outs: int, stride: int, make: Make) -> None:
        super().__init__()
        same = stride == 1 and ins == outs
        self.activated = nn.Sequential(nn.BatchNorm2d(ins), make())
        self.shortcut = None if same else nn.Conv2d(ins, outs, 1, stride, bias=False)
        self.residual = nn.Sequential(
            nn.Conv2d(ins, outs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outs),
            make(),
            nn.Conv2d(outs, outs, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(n, ins, h, w)`` to ``(n, outs, h / stride, w / stride)``."""
        a = self.activated(x)
        return self.residual(a) + (x if self.shortcut is None else self.shortcut(a))


def _stage(ins: int, outs: int, blocks: int, stride: int, make: Make) -> nn.Sequential:
    rest = [Block(outs, outs, 1, make) for _ in range(blocks - 1)]
    return nn.Sequential(Block(ins, outs, stride, make), *rest)


def _check(shape: tuple[int, int, int], classes: int, depth: int, width: int) -> None:
    for name, value in (*zip("chw", shape, strict=True), ("classes", classes), ("width", width)):
        whole(name, value)
    if depth not in BLOCKS:
        raise ValueError(f"depth must be one of {', '.join(map(str, BLOCKS))}, got {depth}.")
