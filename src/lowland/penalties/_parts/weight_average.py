"""A running average of the weights, for rules that differ in how much they weigh the newest."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lowland.checks import whole
from lowland.engine.buffers import Buffers
from lowland.penalties._parts.batch_norm import estimate_statistics
from lowland.penalties._parts.bound import Bound
from lowland.penalties._parts.hooks import taken
from lowland.penalties._parts.lerp import lerp_
from lowland.penalties._parts.penalty import Penalty
from lowland.penalties._parts.trained import fitting, trained
from lowland.shield import Shield
from lowland.types import Batches, State

__all__ = ["Averaging", "WeightAverage"]


@dataclass(frozen=True, kw_only=True)
class Averaging(Penalty):
    """Base of rules that average the weights after ``start``, ``start + every``, ... optimiser steps.

    Attributes:
        start: Optimiser steps before the first weights that count, >= 0; the initial ones never do.
        every: Optimiser steps from one addition to the next, >= 1.
    """

    start: int = 0
    every: int = 1

    COPIES: ClassVar = 1

    def __post_init__(self) -> None:
        whole("start", self.start, 0)
        whole("every", self.every)

    def share(self, earlier: int | Tensor) -> float | Tensor:
        """How much of the new average the newest weights are, when ``earlier`` ones are in it already."""
        raise NotImplementedError

    def bind(self, model: nn.Module, optimizer: Optimizer) -> "WeightAverage":
        """Average the weights of ``model`` that ``optimizer`` trains.

        Args:
            model: Any module; where several processes each hold all of it, the bare one.
            optimizer: Takes the steps.

        Returns:
            The average; the optimiser keeps it at work whether or not you keep it.

        Raises:
            ValueError: If the optimiser trains none of the model's parameters.
            NotImplementedError: If parameters are sharded.
        """
        return WeightAverage(self, model, optimizer)


class WeightAverage(Bound[Averaging]):
    """A running average of the weights, in at least float32, beside the weights that are trained.

    Attributes:
        averages: The averages by parameter name; empty before the first.
        additions: Weights averaged so far; a scalar on the device after a fused optimiser met a gradient scaler.
    """

    def __init__(self, penalty: Averaging, model: nn.Module, optimizer: Optimizer) -> None:
        self._model, self._parameters = model, trained(model, optimizer)
        self.averages: dict[str, Tensor] = {}
        self.additions: int | Tensor = 0
        self._lent = False
        super().__init__(penalty, optimizer)

    def act(self, optimizer: Optimizer) -> None:
        """Add the weights to their average if it is their turn.

        Raises:
            RuntimeError: If the model holds the averages.
        """
        if self._lent:
            raise RuntimeError(
                "The optimiser must not step inside averaged(), where the model holds the averages."
            )
        done = self.count + 1 - self.penalty.start
        if done < 0 or done % self.penalty.every:
            return
        if not self.averages:
            self.averages = {name: _wide(p) for name, p in self._parameters.items()}
        counts = taken(optimizer)
        share = self.penalty.share(self.additions) * counts
        lerp_(list(self.averages.values()), [p.detach() for p in self._parameters.values()], share)
        self.additions = self.additions + counts

    @contextmanager
    def averaged(self) -> Iterator[nn.Module]:
        """Inside the block the model holds the averaged weights; after it everything is as before, bit for bit.

        Buffers come back as well, so batch-norm statistics that :meth:`update_batch_norm` estimates inside stay
        inside. Save a checkpoint of the averaged model inside the block; train outside.

        Yields:
            The model.

        Raises:
            RuntimeError: If nothing has been averaged yet, or the model holds the averages already.

        Cost:
            One copy of the trained weights, and one of the buffers, while inside.
        """
        if self._lent:
            raise RuntimeError("averaged() must not be entered twice: the model holds the averages already.")
        if not self.averages:
            raise RuntimeError(
                f"averaged() needs weights to average, got none so far: the first come after "
                f"{self.penalty.start or self.penalty.every} optimiser steps, and there were {self.count}."
            )
        weights = [p.detach() for p in self._parameters.values()]
        backup, buffers = [w.clone() for w in weights], Buffers(self._model)
        kept, self._lent = buffers.snapshot(), True
        try:
            _fill(weights, list(self.averages.values()))
            yield self._model
        finally:
            with Shield(), torch.no_grad():
                _fill(weights, backup)
                buffers.restore(kept)
                self._lent = False

    def update_batch_norm(self, batches: Batches) -> None:
        """Estimate the batch-norm statistics of the averaged weights; to be called inside :meth:`averaged`.

        Args:
            batches: Pairs (inputs, targets) of training data; the targets are not used.

        Raises:
            RuntimeError: If the model does not hold the averages.

        Cost:
            One forward pass over ``batches``; none for a model without batch norm.
        """
        if not self._lent:
            raise RuntimeError("update_batch_norm must be called inside averaged(), got a call outside.")
        estimate_statistics(self._model, batches)

    def memory(self) -> State:
        """The averages by parameter name, and how many weights are in them."""
        return {"averages": self.averages, "additions": self.additions}

    def recall(self, state: Mapping[str, Any]) -> None:
        """Bring the averages back."""
        averages = fitting(state["averages"], self._parameters) if state["averages"] else {}
        self.averages, self.additions = averages, state["additions"]


def _wide(p: Tensor) -> Tensor:
    """A copy in at least float32: in half precision a small share of the newest weights would round away."""
    return p.detach().to(torch.promote_types(p.dtype, torch.float32), copy=True)


def _fill(weights: list[Tensor], values: list[Tensor]) -> None:
    torch._foreach_copy_(weights, values)
    torch.clear_autocast_cache()  # autocast keeps casts of weights by address
