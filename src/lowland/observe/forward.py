"""One forward pass of any model on one batch: inputs of any shape in, one tensor of outputs back."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lowland.calling import call

__all__ = ["first_tensor", "forward", "given_tensor", "home", "moved"]


def forward(model: nn.Module, inputs: Any) -> Any:  # noqa: ANN401 - inputs and outputs are the model's business
    """What ``model`` answers to ``inputs``, moved to where the model lives.

    Called as :func:`lowland.calling.call` says. Floating inputs take the dtype of the model's first floating
    parameter, if it has any; token ids and masks stay as they are.

    Args:
        model: Any module.
        inputs: What the loader gave for one batch.

    Returns:
        The model's own output.
    """
    device, dtype = home(model)
    return call(model, moved(inputs, device, dtype))


def home(model: nn.Module) -> tuple[torch.device | None, torch.dtype | None]:
    """The device of the model's first tensor and the dtype of its first floating one; None if it has none."""
    tensors = [*model.parameters(), *model.buffers()]
    floating = [t.dtype for t in tensors if t.is_floating_point()]
    return tensors[0].device if tensors else None, floating[0] if floating else None


def first_tensor(output: Any, owner: str) -> Tensor:  # noqa: ANN401 - a layer may return anything
    """The tensor to measure in a layer's output: itself, or the first one in a tuple, list or mapping.

    Args:
        output: What a module returned.
        owner: Whose output it is, for the error's sentence.

    Returns:
        The first tensor, in the order of the container, however deep.

    Raises:
        TypeError: If there is no tensor in it.

    Example:
        >>> first_tensor({"loss": None, "logits": torch.ones(2)}, "the model")
        tensor([1., 1.])
    """
    found = _first(output)
    if found is None:
        raise TypeError(
            f"The output of {owner} must be a tensor, or a tuple, list or mapping with one, "
            f"got {type(output).__name__}. Name another layer."
        )
    return found


def given_tensor(args: Any) -> Tensor | None:  # noqa: ANN401 - a layer may be given anything
    """The first tensor among a layer's positional inputs, detached; None if there is none."""
    found = _first(args)
    return None if found is None else found.detach()


def _first(output: object) -> Tensor | None:
    if isinstance(output, Tensor):
        return output
    if not isinstance(output, Mapping | tuple | list):
        return None
    parts = output.values() if isinstance(output, Mapping) else output
    return next((found for found in map(_first, parts) if found is not None), None)


def moved(inputs: Any, device: torch.device | None, dtype: torch.dtype | None) -> Any:  # noqa: ANN401 - see forward
    """Tensors, in whatever container, on a device; floating ones in a dtype. None leaves them as they are."""
    if isinstance(inputs, Tensor):
        return inputs.to(device or inputs.device, dtype if inputs.is_floating_point() else None, non_blocking=True)
    if isinstance(inputs, Mapping):
        return {key: moved(value, device, dtype) for key, value in inputs.items()}
    if isinstance(inputs, tuple | list):
        return [moved(value, device, dtype) for value in inputs]
    return inputs
