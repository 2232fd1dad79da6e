"""A copy of a model whose layers can be changed, refused by words where there is none."""

import copy

from torch import Tensor, nn
from torch.nn.utils import parametrize

from lowland.layers.expanded import KINDS, Expanded

__all__ = ["copied"]

ALONE = (*KINDS, Expanded, nn.MultiheadAttention)
"""What is replaced or gets another class."""


def copied(model: nn.Module) -> nn.Module:
    """A deep copy of ``model``.

    Raises:
        ValueError: If a layer holds a tensor that autograd computed, as weight norm by hooks and pruning leave it,
            or is compiled by itself.
    """
    for name, layer in model.named_modules():
        _refuse_computed(layer, name)
        _refuse_compiled(layer, name)
    return copy.deepcopy(model)


def _refuse_computed(layer: nn.Module, name: str) -> None:
    for key, value in {**vars(layer), **layer._buffers}.items():
        if isinstance(value, Tensor) and not value.is_leaf:
            raise ValueError(
                f"Layer {name!r} must hold no tensor that autograd computed, got {key!r}, which has no copy: take "
                "its hook off first, as with prune.remove or remove_weight_norm of torch.nn.utils."
            )


def _refuse_compiled(layer: nn.Module, name: str) -> None:
    """Refuse what torch.compile made of a single layer: it goes on with the one that it was given.

    Raises:
        ValueError: If it is that.
    """
    inside = layer._modules.get("_orig_mod")
    if inside is not None and (isinstance(inside, ALONE) or parametrize.is_parametrized(inside)):
        raise ValueError(
            f"Layer {name!r} must not be compiled by itself, got a {type(inside).__name__} that is: put that, its "
            "_orig_mod, in its place, and compile afterwards."
        )
