"""A model at other values of its parameters, which are not touched."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from lowland.observe.forward import forward

__all__ = ["elsewhere"]


def elsewhere(model: nn.Module, weights: Sequence[Tensor], values: Sequence[Tensor], inputs: Any) -> Any:  # noqa: ANN401
    """What ``model`` answers to ``inputs`` with ``values`` in place of its parameters ``weights``."""
    caller = _Caller(model)
    at = {id(w): value for w, value in zip(weights, values, strict=True)}
    named = {name: at[id(p)] for name, p in caller.named_parameters() if id(p) in at}
    return functional_call(caller, named, (inputs,))


class _Caller(nn.Module):
    """A module that is called with a batch's inputs as they come."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Any) -> Any:  # noqa: ANN401 - inputs and outputs are the model's business
        return forward(self.model, inputs)
