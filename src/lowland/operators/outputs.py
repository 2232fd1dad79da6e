"""The model's outputs as the loss sees them: the place where the Gauss-Newton matrix splits the Hessian."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from lowland.operators.batch import Batch
from lowland.operators.derivatives.pull import End, end, pull
from lowland.operators.problem import Problem

__all__ = ["Curve", "Outputs", "refuse_inner_loss"]


class Outputs:
    """What a model answers to a batch, in whatever containers, and the loss as a function of it.

    Args:
        problem: Whose model and loss.
        batch: Whose inputs and targets.
    """

    def __init__(self, problem: Problem, batch: Batch) -> None:
        self.problem, self.batch = problem, batch
        self._given: Any = None

    def leaves(self) -> list[Tensor]:
        """The floating tensors among the outputs of a new forward pass, with their graph.

        Raises:
            TypeError: If there are none.
        """
        outputs = self.problem.outputs(self.batch)
        found = [leaf for leaf in pytree.tree_leaves(outputs) if _counts(leaf)]
        if not found:
            raise TypeError(
                f"The outputs must be tensors in tuples, lists or mappings, got {type(outputs).__name__}."
            )
        self._given = pytree.tree_map(lambda leaf: leaf.detach() if _counts(leaf) else leaf, outputs)
        return found

    def only(self) -> Tensor:
        """The latest outputs, where they are one tensor.

        Raises:
            ValueError: If they are not, or the batch does not tell its targets apart.
        """
        if not isinstance(self._given, Tensor) or self.batch.targets is self.batch.inputs:
            raise ValueError(
                "Targets are drawn for batches (inputs, targets) and models that give one tensor, "
                f"got a batch of {type(self.batch.inputs).__name__} and outputs of {type(self._given).__name__}."
            )
        return self._given

    def slopes(self, targets: Any = None) -> list[Tensor | None]:  # noqa: ANN401 - the loss's business
        """The gradient of the loss with respect to each leaf of the latest outputs; None stands for zeros.

        Args:
            targets: Others than the batch's.
        """
        return [None if u is None else u.detach() for u in self._slopes(targets)[1]]

    def curve(self) -> "Curve":
        """The second derivative of the loss with respect to the latest outputs."""
        leaves, slopes = self._slopes(None)
        return Curve(leaves, [end(u) for u in slopes])

    def _slopes(self, targets: Any) -> tuple[list[Tensor], Sequence[Tensor | None]]:  # noqa: ANN401 - see slopes
        flat, shape = pytree.tree_flatten(self._given)
        flat = [leaf.detach().requires_grad_() if _counts(leaf) else leaf for leaf in flat]
        batch = self.batch if targets is None else replace(self.batch, targets=targets)
        loss = self.problem.value(batch, pytree.tree_unflatten(flat, shape))
        leaves = [leaf for leaf in flat if _counts(leaf)]
        return leaves, torch.autograd.grad(loss, leaves, create_graph=True, allow_unused=True)


class Curve:
    """The loss's second derivative with respect to outputs; its graph is that of the loss alone."""

    def __init__(self, leaves: Sequence[Tensor], slopes: Sequence[End]) -> None:
        self.leaves, self.ends = leaves, slopes

    def times(self, v: Sequence[Tensor]) -> list[Tensor]:
        """The product with tensors of the outputs' shapes."""
        found = pull(self.ends, v, self.leaves)
        return [torch.zeros_like(z) if part is None else part for part, z in zip(found, self.leaves, strict=True)]


def refuse_inner_loss(problem: Problem) -> None:
    """Refuse a loss that the model computes itself, where it must be told from the outputs.

    Raises:
        ValueError: If the problem's loss is the model's own.
    """
    if problem.loss is None:
        raise ValueError(
            "The loss must be a function of the outputs to be split from them, got loss=None, the model's own: "
            "pass loss=, such as lambda outputs, batch: cross_entropy(outputs.logits, batch['labels'])."
        )


def _counts(leaf: object) -> bool:
    return isinstance(leaf, Tensor) and leaf.is_floating_point()
