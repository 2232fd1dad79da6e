"""A multi-layer perceptron."""

from collections.abc import Sequence

from torch import Tensor, nn

from lowland.checks import whole
from lowland.models._activations.choice import Make, activation_maker

__all__ = ["MLP"]


class MLP(nn.Module):
    """Linear, (batch norm,) activation for every width, then a linear head; images are flattened.

    ``layers`` names the hidden layers after their activation: ``blocks.0``, ``blocks.1``, …

    Args:
        shape: Shape ``(c, h, w)`` of one image.
        classes: The number of outputs, >= 1.
        widths: Units of each hidden layer, each >= 1; may be empty.
        activation: ``relu``, ``gelu``, ``silu``, ``tanh``, ``beta_gelu:beta=8``, ``ablated_gelu`` or
            ``augmented_relu:width=0.5``.
        batch_norm: Whether to normalise before each activation.

    Raises:
        TypeError: If a number is not whole, or ``activation`` takes no such argument.
        ValueError: If a number is out of its range, or ``activation`` is not one of those.

    Example:
        >>> import torch
        >>> mlp = MLP((1, 8, 8), 10, widths=(32, 16))
        >>> mlp(torch.zeros(5, 1, 8, 8)).shape, mlp.layers
        (torch.Size([5, 10]), ('blocks.0', 'blocks.1'))
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        widths: Sequence[int] = (256, 256),
        activation: str = "relu",
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        make = activation_maker(activation)
        for name, value in (
            *zip("chw", shape, strict=True),
            ("classes", classes),
            *(("width", w) for w in widths),
        ):
            whole(name, value)
        ins = [shape[0] * shape[1] * shape[2], *widths]
        blocks = [_block(a, b, make, batch_norm) for a, b in zip(ins, widths, strict=False)]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(ins[-1], classes)
        self.layers = tuple(f"blocks.{i}" for i in range(len(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(n, k)`` of images ``(n, c, h, w)``."""
        return self.head(self.blocks(x.flatten(1)))


def _block(ins: int, width: int, make: Make, batch_norm: bool) -> nn.Sequential:
    norm = [nn.BatchNorm1d(width)] if batch_norm else []
    return nn.Sequential(nn.Linear(ins, width), *norm, make())
