"""Data cut into groups of equally many examples, whatever the size of the batches they come in."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from torch import Tensor
from torch.utils import _pytree as pytree

from lowland.operators.batch import Batch
from lowland.operators.problem import Problem

__all__ = ["after", "cut", "groups"]


def groups(problem: Problem, m: int | None) -> Iterator[Iterable[Batch]]:
    """Consecutive groups of ``m`` examples, each as pieces of the batches; one of all batches for None.

    Examples at the end that do not fill a group are left out. To be gone over inside :meth:`Problem.calm`, as
    loaders draw random numbers.

    Raises:
        ValueError: If there are fewer than ``m`` examples, or a batch cannot be cut into them.
    """
    if m is None:
        yield problem.batches
        return
    group: list[Batch] = []
    missing, number = m, 0
    for batch in problem.batches:
        start = 0
        while start < batch.count:
            stop = min(start + missing, batch.count)
            group.append(cut(batch, start, stop))
            missing -= stop - start
            start = stop
            if missing == 0:
                yield group
                group, missing, number = [], m, number + 1
    if number == 0:
        raise ValueError(f"m must be at most the number of examples, {m - missing}, got {m}.")


def after(problem: Problem, m: int) -> Iterator[Batch]:
    """The examples after the first ``m``."""
    passed = 0
    for batch in problem.batches:
        start = max(0, m - passed)
        passed += batch.count
        if start < batch.count:
            yield cut(batch, start, batch.count) if start else batch


def cut(batch: Batch, start: int, stop: int) -> Batch:
    """The examples of a batch from ``start`` to ``stop``.

    Raises:
        ValueError: If a tensor of the batch has not one row for each example.
    """

    def rows(leaf: object) -> object:
        if not isinstance(leaf, Tensor) or not leaf.ndim:
            return leaf
        if len(leaf) != batch.count:
            raise ValueError(
                f"Every tensor of a batch must have a row for each of its {batch.count} examples to be cut into "
                f"groups, got shape {tuple(leaf.shape)}."
            )
        return leaf[start:stop]

    inputs, targets = pytree.tree_map(rows, (batch.inputs, batch.targets))
    return replace(batch, inputs=inputs, targets=targets, count=stop - start)
