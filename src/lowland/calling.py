"""How a batch's inputs reach a model, wherever the library calls one."""

from collections.abc import Mapping
from typing import Any

from torch import nn

__all__ = ["call"]


def call(model: nn.Module, inputs: Any) -> Any:  # noqa: ANN401 - inputs and outputs are the model's business
    """What ``model`` answers: a mapping is passed as keywords, a tuple or list as positions, else as one argument.

    Example:
        >>> import torch
        >>> call(nn.Bilinear(1, 1, 2), (torch.ones(3, 1), torch.ones(3, 1))).shape
        torch.Size([3, 2])
    """
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, tuple | list):
        return model(*inputs)
    return model(inputs)
