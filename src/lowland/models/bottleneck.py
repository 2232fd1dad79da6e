"""Any network, with a linear bottleneck in front of its head."""

from collections import OrderedDict

from torch import Tensor, nn

from lowland import catalog
from lowland.checks import whole

__all__ = ["Bottleneck"]


class Bottleneck(nn.Module):
    """A network whose last features z, of width d, reach its head as ``up(down(z))``, through ``rank`` numbers.

    ``down`` and ``up`` are linear, so the head sees features of at most ``rank`` principal components, and can
    compute nothing that it could not compute without. They begin as the orthogonal projection onto a random
    subspace. Fixed, they stay it; trained, they lower the rank further: a classifier's to about as many components
    as there are classes.

    ``layers`` names those of the network, and ``net.head.up``: what the head sees.

    Args:
        shape: Shape ``(c, h, w)`` of one image.
        classes: The number of outputs, >= 1.
        rank: Width of the bottleneck, from 1 to d.
        model: The network, with its arguments; arguments with commas in brackets: ``('mlp:widths=(9,),...')``.
        trained: Whether the two layers are trained; else they are fixed.

    Raises:
        TypeError: If ``rank`` is not whole, or the network has no linear layer called ``head``.
        ValueError: If ``rank`` or an argument of the network is out of its range.
        LookupError: If there is no such network.

    Example:
        >>> import torch
        >>> net = Bottleneck((1, 8, 8), 10, rank=4, model="mlp:widths=(32,)")
        >>> net(torch.zeros(5, 1, 8, 8)).shape, net.layers
        (torch.Size([5, 10]), ('net.blocks.0', 'net.head.up'))
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        rank: int = 8,
        model: str = "conv",
        trained: bool = True,
    ) -> None:
        super().__init__()
        whole("rank", rank)
        self.net = catalog.build("models", model, shape=shape, classes=classes)
        head = getattr(self.net, "head", None)
        if not isinstance(head, nn.Linear):
            raise TypeError(f"model must have a linear layer called head, got {model!r}. Name another network.")
        down, up = _projection(head.in_features, rank)
        for layer in (down, up):
            layer.requires_grad_(trained)
        self.net.head = nn.Sequential(OrderedDict(down=down, up=up, head=head))
        self.layers = (*(f"net.{name}" for name in self.net.layers), "net.head.up")

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(n, k)`` of images ``(n, c, h, w)``."""
        return self.net(x)


def _projection(width: int, rank: int) -> tuple[nn.Linear, nn.Linear]:
    """Down to the coordinates in a random subspace, and back.

    Raises:
        ValueError: If the subspace is larger than the space.
    """
    if rank > width:
        raise ValueError(f"rank must be at most {width}, the width of the features, got {rank}.")
    down, up = nn.Linear(width, rank, bias=False), nn.Linear(rank, width, bias=False)
    nn.init.orthogonal_(down.weight)
    up.weight = nn.Parameter(down.weight.detach().T.clone())
    return down, up
