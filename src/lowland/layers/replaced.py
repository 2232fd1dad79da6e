"""A module in another's place, wherever it is used."""

from torch import nn

__all__ = ["replaced"]


def replaced(model: nn.Module, old: nn.Module, new: nn.Module) -> nn.Module:
    """The model with ``new`` under every name that ``old`` has; changed in place, or ``new`` if it is ``old``."""
    if model is old:
        return new
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):  # named_children leaves repeated ones out
            if child is old:
                setattr(parent, name, new)
    return model
