"""A weight that is a product: the parametrisation of a layer in weight space."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.utils import parametrize

from lowland.layers.chain import Chain
from lowland.layers.preserve import preserve

__all__ = ["Product", "lists", "products"]


class Product(nn.Module):
    """Computes a weight from its factors at each use; they are ``parametrizations.<name>.original0``, ….

    Assigning to the weight sets the factors to balanced ones (:func:`lowland.layers.preserve.preserve`).

    Args:
        chain: What the factors are.
        start: The factors to begin with, as stored.
    """

    def __init__(self, chain: Chain, start: Sequence[Tensor]) -> None:
        super().__init__()
        self.chain = chain
        self._start: Sequence[Tensor] | None = start

    def forward(self, *factors: Tensor) -> Tensor:
        """The weight."""
        return self.chain.product(factors)

    def right_inverse(self, weight: Tensor) -> Sequence[Tensor]:
        """Factors of ``weight``; when registered, those to begin with."""
        start, self._start = self._start, None
        return preserve(weight, self.chain) if start is None else start

    def extra_repr(self) -> str:
        """How deep and wide."""
        return f"depth={self.chain.depth}, widths={self.chain.widths}"


def lists(layer: nn.Module) -> nn.ModuleDict:
    """What computes the parametrised parameters of a layer, by name."""
    return layer.parametrizations  # pyright: ignore[reportReturnType] - torch makes it so


def products(layer: nn.Module) -> list[str]:
    """The names of a layer's parameters that are products."""
    if not parametrize.is_parametrized(layer):
        return []
    return [name for name, steps in lists(layer).items() if any(isinstance(s, Product) for s in steps.children())]
