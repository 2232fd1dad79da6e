"""An expanded model as the plain one that it is."""

import torch
from torch import nn

from lowland.layers.copied import copied
from lowland.layers.expanded import Expanded
from lowland.layers.product import Product, lists, products
from lowland.layers.replaced import replaced

__all__ = ["collapse"]


def collapse(model: nn.Module) -> nn.Module:
    r"""A copy of ``model`` with one plain layer for every product, :math:`W = W_d \cdots W_1`.

    Undoes :func:`lowland.layers.expand.expand` at any moment of training: the modules and the names in the
    ``state_dict`` are those of the model before, in their order; weights and biases are parameters, tied and
    frozen as they were. Batch norm is folded with its running statistics: it gives a bias to a layer that had
    none, and one of its own to each that shared theirs.

    Args:
        model: Expanded in either mode; it is not changed. Layers that are not expanded are copied.

    Returns:
        The plain copy, which gives the same outputs up to rounding, with batch norm in evaluation.

    Raises:
        ValueError: If a product is parametrised once more, as by weight norm, a layer is compiled by itself, or
            one cannot be copied.

    Example:
        >>> from lowland.layers.expand import expand
        >>> plain = collapse(expand(nn.Linear(4, 2), depth=4))
        >>> type(plain).__name__, list(plain.state_dict())
        ('Linear', ['weight', 'bias'])

    Cost:
        d - 1 products of matrices for every weight.
    """
    model = copied(model)
    weights: dict[object, nn.Parameter] = {}
    for name, layer in list(model.named_modules()):
        if isinstance(layer, Expanded):
            model = replaced(model, layer, _of_row(layer, weights))
        elif products(layer):
            _refuse_more(name, layer)
            _undo(layer, weights)
    return model


def _of_row(layer: Expanded, weights: dict[object, nn.Parameter]) -> nn.Module:
    """The plain layer, with what it shares."""
    plain = layer.collapsed()
    key = (tuple(id(factor.weight) for factor in layer.factors), len(layer.norms))
    plain.register_parameter("weight", weights.setdefault(key, plain.get_parameter("weight")))
    if not layer.norms:
        plain.register_parameter("bias", layer._parameters["own_bias"])
    return plain


def _undo(layer: nn.Module, weights: dict[object, nn.Parameter]) -> None:
    """Put plain parameters in front of the others, in the place of products.

    PyTorch's own ``remove_parametrizations`` takes the property off the class, which copies of a layer share.
    """
    made = {name: _plain(layer, name, weights) for name in products(layer)}
    others = dict(layer._parameters)
    del layer.parametrizations
    layer.__class__ = type(layer).__bases__[0]
    layer._parameters.clear()
    for name, parameter in {**made, **others}.items():
        layer.register_parameter(name, parameter)


def _plain(layer: nn.Module, name: str, weights: dict[object, nn.Parameter]) -> nn.Parameter:
    with torch.enable_grad():
        weight = getattr(layer, name)
    plain = nn.Parameter(weight.detach().clone(), weight.requires_grad)
    return weights.setdefault(id(lists(layer)[name]), plain)


def _refuse_more(name: str, layer: nn.Module) -> None:
    """Refuse parametrisations that are not ours.

    Raises:
        ValueError: If there is one.
    """
    steps = [step for each in lists(layer).values() for step in each.children()]
    if not all(isinstance(step, Product) for step in steps):
        raise ValueError(
            f"Layer {name!r} must have no parametrisation but its factors: take the others off first, with "
            "torch.nn.utils.parametrize.remove_parametrizations."
        )
