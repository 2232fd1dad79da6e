"""A small convolutional network with batch norm: the quick network of the studies."""

from collections.abc import Sequence

from torch import Tensor, nn

from lowland.checks import whole
from lowland.models._activations.choice import Make, activation_maker

__all__ = ["Conv"]

SMALLEST_MAP = 2


class Conv(nn.Module):
    """Convolution 3 x 3, batch norm, activation for every width, then a linear head on the flattened last map.

    Every convolution halves the image, but for as many at the front as are needed to leave a last map of at least
    2 x 2; so features stay many more than classes, and their rank has room to fall. With the default widths:

    * 1 x 8 x 8: strides 1, 2, 2; 1024, 512, 256 features; 25,978 weights;
    * 1 x 28 x 28: strides 2, 2, 2; 3136, 1568, 1024 features; 33,658 weights;
    * 3 x 32 x 32: strides 2, 2, 2; 4096, 2048, 1024 features; 33,946 weights.

    ``layers`` names the layers after their activation: ``blocks.0``, ``blocks.1``, …

    Args:
        shape: Shape ``(c, h, w)`` of one image.
        classes: The number of outputs, >= 1.
        widths: Channels of each layer, at least one, each >= 1.
        strides: One stride per layer, each >= 1. None chooses as above.
        activation: ``relu``, ``gelu``, ``silu``, ``tanh``, ``beta_gelu:beta=8``, ``ablated_gelu`` or
            ``augmented_relu:width=0.5``.
        batch_norm: Whether to normalise before each activation; without it the convolutions have biases.

    Raises:
        TypeError: If a number is not whole, or ``activation`` takes no such argument.
        ValueError: If a number is out of its range, there is no width, strides and widths differ in number, or
            ``activation`` is not one of those.

    Example:
        >>> import torch
        >>> conv = Conv((1, 8, 8), 10)
        >>> conv(torch.zeros(5, 1, 8, 8)).shape, conv.layers, conv.strides
        (torch.Size([5, 10]), ('blocks.0', 'blocks.1', 'blocks.2'), (1, 2, 2))
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        widths: Sequence[int] = (16, 32, 64),
        strides: Sequence[int] | None = None,
        activation: str = "relu",
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        self.strides = _strides(min(shape[1:]), len(widths)) if strides is None else tuple(strides)
        _check(shape, classes, widths, self.strides)
        make = activation_maker(activation)
        ins = [shape[0], *widths]
        parts = zip(ins, widths, self.strides, strict=False)
        self.blocks = nn.Sequential(*(_block(*part, make, batch_norm) for part in parts))
        h, w = (_side(side, self.strides) for side in shape[1:])
        self.head = nn.Linear(widths[-1] * h * w, classes)
        self.layers = tuple(f"blocks.{i}" for i in range(len(widths)))

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(n, k)`` of images ``(n, c, h, w)``."""
        return self.head(self.blocks(x).flatten(1))


def _strides(side: int, depth: int) -> tuple[int, ...]:
    """2 in every layer, but 1 in as many layers at the front as the smallest last map asks for."""
    choices = [(1,) * ones + (2,) * (depth - ones) for ones in range(depth + 1)]
    return next((c for c in choices if _side(side, c) >= SMALLEST_MAP), choices[-1])


def _side(side: int, strides: Sequence[int]) -> int:
    for stride in strides:
        side = -(-side // stride)
    return side


def _block(ins: int, width: int, stride: int, make: Make, batch_norm: bool) -> nn.Sequential:
    convolution = nn.Conv2d(ins, width, 3, stride, padding=1, bias=not batch_norm)
    norm = [nn.BatchNorm2d(width)] if batch_norm else []
    return nn.Sequential(convolution, *norm, make())


def _check(shape: Sequence[int], classes: int, widths: Sequence[int], strides: Sequence[int]) -> None:
    if not widths or len(strides) != len(widths):
        raise ValueError(f"widths and strides must be equally many, at least one, got {widths} and {strides}.")
    numbers = {
        "c": shape[:1],
        "h": shape[1:2],
        "w": shape[2:],
        "classes": [classes],
        "width": widths,
        "stride": strides,
    }
    for name, value in ((name, value) for name, values in numbers.items() for value in values):
        whole(name, value)
