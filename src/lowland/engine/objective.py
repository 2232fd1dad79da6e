"""A closure that knows its examples, for methods that work on some of them or with another loss."""

import inspect
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lowland.calling import call
from lowland.types import Criterion

__all__ = ["Examples", "Loss", "Objective", "objective"]

Rows = slice | Tensor


@dataclass(frozen=True)
class Examples:
    """What a loss of a method's own is computed from.

    Attributes:
        outputs: What the model gave, with its graph.
        targets: Of shape ``(n, ...)``.
        clean: What the model gave in the clean pass on the same examples, detached; None before it.
        criterion: The user's loss.
        each: The user's loss of every example, ``(outputs, targets) -> (n,)``.
    """

    outputs: Any
    targets: Tensor
    clean: Any
    criterion: Criterion
    each: Criterion

    @property
    def losses(self) -> Tensor:
        """The user's loss of every example, of shape ``(n,)``, with its graph."""
        return self.each(self.outputs, self.targets)


Loss = Callable[[Examples], Tensor]
"""A loss of a method's own, a scalar."""


class Objective:
    """The loss of a batch, or of some rows of it.

    Attributes:
        outputs: What the model gave in the last step's clean pass, detached; None before the first.
        value: The user's loss in the latest pass, detached, whatever was differentiated.
        latest: What the model gave in the latest pass, with its graph.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        x: Any,  # noqa: ANN401 - inputs are the model's business
        y: Tensor,
        *,
        each: Criterion | None = None,
        scale: float = 1.0,
    ) -> None:
        self.model, self.criterion, self.x, self.y, self.scale = model, criterion, x, y, scale
        self.each = each or _each(criterion)
        self.outputs: Any = None
        self.value: Tensor | None = None
        self.latest: Any = None
        self._clean: list[Any] = []

    def __len__(self) -> int:
        return len(self.y)

    def __call__(self, rows: Rows | None = None, loss: Loss | None = None) -> Tensor:
        """The mean loss of ``rows``, or of all examples; or another ``loss`` of them."""
        outputs, y = self._forward(rows)
        value = self._scaled(self.criterion(outputs, y))
        self.value = value.detach() if isinstance(value, Tensor) else None
        if loss is None:
            return value
        return self._scaled(loss(Examples(outputs, y, self._clean_of(rows), self.criterion, self.each)))

    def losses(self, rows: Rows | None = None) -> Tensor:
        """The loss of every example of ``rows``, of shape ``(n,)``, as the model is now."""
        outputs, y = self._forward(rows)
        return self.scale * self.each(outputs, y)

    def clean_losses(self) -> Tensor:
        """The loss of every example in the clean pass, of shape ``(n,)``, from the outputs that were kept."""
        return self.scale * self.each(self.outputs, self.y)

    def begin(self) -> None:
        """Forget the outputs of the step before."""
        self._clean, self.outputs = [], None

    def keep(self) -> None:
        """Count the latest outputs among those of the clean pass; shards are joined in order."""
        self._clean.append(_detached(self.latest))
        self.outputs = self._clean[0] if len(self._clean) == 1 else _joined(self._clean)

    def _forward(self, rows: Rows | None) -> tuple[Any, Tensor]:
        x, y = (self.x, self.y) if rows is None else (rows_of(self.x, rows), self.y[rows])
        outputs = call(self.model, x)
        self.latest = outputs
        return outputs, y

    def _clean_of(self, rows: Rows | None) -> Any:  # noqa: ANN401
        return self.outputs if rows is None or self.outputs is None else rows_of(self.outputs, rows)

    def _scaled(self, loss: Tensor) -> Tensor:
        return loss if self.scale == 1 else self.scale * loss


def objective(
    model: nn.Module,
    criterion: Criterion,
    x: Any,  # noqa: ANN401
    y: Tensor,
    *,
    each: Criterion | None = None,
    scale: float = 1.0,
) -> Objective:
    """The closure ``lambda: criterion(model(x), y)``, which also knows its examples.

    Args:
        model: Called as ``model(x)``; with a dict as keywords, with a list or tuple as positions.
        criterion: The mean loss over the examples, a scalar.
        x: Inputs: a tensor of shape ``(n, ...)``, or a dict, list or tuple of such tensors.
        y: Targets, of shape ``(n, ...)``.
        each: ``(outputs, y)`` to the loss of every example, of shape ``(n,)``, for methods that choose among
            them. None works it out: PyTorch's losses with ``reduction="none"``, any other one by one.
        scale: Factor on the loss, such as one over the number of micro-batches.

    Returns:
        Something to hand to ``backward`` in place of a closure.

    Raises:
        ValueError: If there are no examples, or ``x`` and ``y`` differ in number.
        TypeError: If ``x`` holds something that cannot be cut into shards.
    """
    for leaf in pytree.tree_leaves(x):
        if not isinstance(leaf, Tensor | int | float | str | None):
            raise TypeError(
                f"x must be a tensor, or a dict, list or tuple of tensors, got {type(leaf).__name__} in it."
            )
    counts = {len(leaf) for leaf in _leaves(x)} | {len(y)}
    if counts == {0} or len(counts) != 1:
        raise ValueError(f"x and y must hold the same number of examples, at least 1, got {sorted(counts)}.")
    return Objective(model, criterion, x, y, each=each, scale=scale)


def rows_of(x: Any, rows: Rows) -> Any:  # noqa: ANN401
    """Some examples of ``x``, with its structure kept."""
    return pytree.tree_map(lambda leaf: leaf[rows] if isinstance(leaf, Tensor) and leaf.ndim else leaf, x)


def _each(criterion: Criterion) -> Criterion:
    """The loss of every example: PyTorch's own at once, any other one by one."""
    if isinstance(criterion, nn.Module) and getattr(criterion, "reduction", "") == "mean":
        alone: Any = copy(criterion)
        alone.reduction = "none"
        if getattr(criterion, "weight", None) is None:
            return lambda outputs, y: _mean_of_each(alone(outputs, y), y)
    elif inspect.isfunction(criterion) and criterion is getattr(nn.functional, criterion.__name__, None):
        return lambda outputs, y: _mean_of_each(partial(criterion, reduction="none")(outputs, y), y)
    return lambda outputs, y: torch.stack(
        [criterion(rows_of(outputs, slice(i, i + 1)), y[i : i + 1]) for i in range(len(y))]
    )


def _mean_of_each(losses: Tensor, y: Tensor) -> Tensor:
    return losses.reshape(len(y), -1).mean(1)


def _leaves(x: Any) -> list[Tensor]:  # noqa: ANN401
    return [leaf for leaf in pytree.tree_leaves(x) if isinstance(leaf, Tensor)]


def _detached(outputs: Any) -> Any:  # noqa: ANN401
    return pytree.tree_map(lambda t: t.detach() if isinstance(t, Tensor) else t, outputs)


def _joined(pieces: list[Any]) -> Any:  # noqa: ANN401
    return pytree.tree_map(
        lambda *ts: torch.cat(ts) if isinstance(ts[0], Tensor) and ts[0].ndim else ts[0], *pieces
    )
