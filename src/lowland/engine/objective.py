"""A closure that knows its examples, for methods that work on some of them."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lowland.calling import call
from lowland.types import Criterion

__all__ = ["Objective", "objective"]


class Objective:
    """The loss of a batch, or of some rows of it.

    Attributes:
        outputs: What the model gave in the last step's clean pass, detached; None before the first.
    """

    def __init__(self, model: nn.Module, criterion: Criterion, x: Any, y: Tensor) -> None:  # noqa: ANN401
        self.model, self.criterion, self.x, self.y = model, criterion, x, y
        self.outputs: Any = None
        self._clean: list[Any] = []

    def __len__(self) -> int:
        return len(self.y)

    def __call__(self, rows: slice | None = None) -> Tensor:
        """The mean loss of ``rows``, or of all examples."""
        x, y = (self.x, self.y) if rows is None else (rows_of(self.x, rows), self.y[rows])
        outputs = call(self.model, x)
        self._latest = outputs
        return self.criterion(outputs, y)

    def begin(self) -> None:
        """Forget the outputs of the step before."""
        self._clean = []

    def keep(self) -> None:
        """Count the latest outputs among those of the clean pass; shards are joined in order."""
        self._clean.append(_detached(self._latest))
        self.outputs = self._clean[0] if len(self._clean) == 1 else _joined(self._clean)


def objective(model: nn.Module, criterion: Criterion, x: Any, y: Tensor) -> Objective:  # noqa: ANN401
    """The closure ``lambda: criterion(model(x), y)``, which also knows its examples.

    Args:
        model: Called as ``model(x)``; with a dict as keywords, with a list or tuple as positions.
        criterion: The mean loss over the examples, a scalar.
        x: Inputs: a tensor of shape ``(n, ...)``, or a dict, list or tuple of such tensors.
        y: Targets, of shape ``(n, ...)``.

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
    return Objective(model, criterion, x, y)


def rows_of(x: Any, rows: slice) -> Any:  # noqa: ANN401
    """Some examples of ``x``, with its structure kept."""
    return pytree.tree_map(lambda leaf: leaf[rows] if isinstance(leaf, Tensor) else leaf, x)


def _leaves(x: Any) -> list[Tensor]:  # noqa: ANN401
    return [leaf for leaf in pytree.tree_leaves(x) if isinstance(leaf, Tensor)]


def _detached(outputs: Any) -> Any:  # noqa: ANN401
    return pytree.tree_map(lambda t: t.detach() if isinstance(t, Tensor) else t, outputs)


def _joined(pieces: list[Any]) -> Any:  # noqa: ANN401
    return pytree.tree_map(
        lambda *ts: torch.cat(ts) if isinstance(ts[0], Tensor) and ts[0].ndim else ts[0], *pieces
    )
