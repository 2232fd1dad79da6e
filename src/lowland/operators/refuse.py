"""What cannot be measured is refused at the first batch, by words."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from lowland.operators.batch import Batch
from lowland.operators.derivatives.nodes import nodes
from lowland.operators.memory import readable

__all__ = ["refuse_chance", "refuse_loss", "refuse_size", "refuse_sum", "scalar"]


def scalar(value: object) -> Tensor:
    """What a loss gave, with no dimensions.

    Raises:
        TypeError: If it is no tensor.
        ValueError: If it has another shape than a scalar's.
    """
    if not isinstance(value, Tensor):
        raise TypeError(
            f"The loss must be a tensor, got {type(value).__name__}: pass loss=, of outputs and targets."
        )
    if value.numel() != 1:
        raise ValueError(
            f"The loss must be a scalar, the mean over the batch, got shape {tuple(value.shape)}: use "
            "reduction='mean'."
        )
    return value.reshape(())


def refuse_loss(loss: Tensor, weights: Sequence[Tensor]) -> None:
    """Refuse a loss that cannot be differentiated with respect to the parameters.

    Raises:
        ValueError: If it does not depend on them, hides how, or is not finite.
    """
    if not torch.isfinite(loss):
        raise ValueError(f"The loss must be finite, got {loss.item()} on the first batch. Has training diverged?")
    behind = [] if loss.grad_fn is None else list(nodes([loss.grad_fn]))
    if any(node.name() == "CheckpointFunctionBackward" for node in behind):
        raise ValueError(
            "Checkpointed layers must be differentiable with torch.autograd.grad, got use_reentrant=True, which "
            "hides their parameters: pass use_reentrant=False."
        )
    own = {id(w) for w in weights}
    if not any(id(getattr(node, "variable", None)) in own for node in behind):
        raise ValueError("The loss must depend on the parameters, got one that does not: is it detached?")


def refuse_sum(
    value: Callable[[Batch, Any], Tensor],
    batch: Batch,
    outputs: Any,  # noqa: ANN401 - the model's business
    loss: Tensor,
) -> None:
    """Refuse a loss that doubles when the batch is seen twice.

    Raises:
        ValueError: If it does.
    """
    twice = lambda t: torch.cat([t, t]) if isinstance(t, Tensor) and t.ndim else t  # noqa: E731
    doubled = replace(batch, targets=pytree.tree_map(twice, batch.targets))
    try:
        again = value(doubled, pytree.tree_map(twice, outputs))
    except (RuntimeError, ValueError, TypeError, IndexError):
        return  # a loss with shapes of its own; nothing to compare
    if torch.isclose(again, 2 * loss, rtol=1e-3) and not torch.isclose(again, loss, rtol=1e-3):
        raise ValueError("The loss must be the mean over the batch, got one that sums: use reduction='mean'.")


def refuse_size(batch: Batch, size: int, limit: float) -> None:
    """Refuse a batch whose graph does not fit into memory.

    Raises:
        MemoryError: If it does not.
    """
    if size > limit:
        raise MemoryError(
            f"The graph of a batch of {batch.count} must fit into memory={readable(limit)!r}, got "
            f"{readable(size)} for the forward pass alone: pass smaller batches, or a larger memory=."
        )


def refuse_chance(first: Tensor, second: Tensor) -> None:
    """Refuse losses of one batch that differ.

    Raises:
        ValueError: If they do.
    """
    if not torch.isclose(first, second, rtol=torch.finfo(first.dtype).eps ** 0.5):
        raise ValueError(
            f"The loss must be the same in every pass, got {first.item()} and {second.item()} for one batch: "
            "does the model draw random numbers by other means than torch's generators, or change itself?"
        )
