"""A method bound to replicas: the object whose ``backward`` fills all their gradients."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lowland.engine.method import Method
from lowland.engine.replica_step import ReplicaAround, ReplicaStep, refuse
from lowland.engine.replica_vector import ReplicaVector, farthest, finite
from lowland.engine.request import Ball, Direction, Request
from lowland.shield import Shield
from lowland.vector import Vector

__all__ = ["ReplicaEngine"]

Weights = Mapping[str, nn.Parameter]
Losses = Callable[[Mapping[str, Tensor], Sequence[Any], int | None], Tensor]
"""The loss of every replica at some weights on a batch, shared or with an axis for the replicas."""


class ReplicaEngine:
    """A method bound to replicas; made by :meth:`lowland.engine.replicas.Replicas.bind`.

    Attributes:
        count: Steps taken so far, which are calls of ``backward``: what schedules go by.
        passes: Forward-backward passes so far.
        telemetry: Of the last step, on the device: ``passes``; ``loss`` and ``sharpness``, the loss at the last
            perturbed weights less that at the weights, of shape ``(replicas,)``.
    """

    def __init__(
        self,
        method: Method,
        weights: Weights,
        losses: Losses,
        moved: frozenset[str],
        optimizer: torch.optim.Optimizer | None,
        seeds: tuple[int, ...],
    ) -> None:
        self.method, self.count, self.passes = method, 0, 0
        self.telemetry: dict[str, int | Tensor] = {}
        self._weights, self._losses, self._optimizer, self._seeds = weights, losses, optimizer, seeds
        self._moved = {name: w for name, w in weights.items() if name in moved and w.requires_grad}

    def backward(self, *batch: Any) -> Tensor:  # noqa: ANN401 - batches are the loss's business
        """Add each replica's direction to its ``.grad``, on one batch for all.

        Args:
            batch: What the loss is given after the model.

        Returns:
            The loss of every replica at its weights, of shape ``(replicas,)``, detached.

        Raises:
            NotImplementedError: If the method works on parts of the batch, or remembers.
            ValueError: If the loss is not a scalar, or depends on no trainable parameter.
            TypeError: If it is no tensor.
        """
        return self._step(batch, None)

    def backward_each(self, *batch: Any) -> Tensor:  # noqa: ANN401
        """Like :meth:`backward`, with a batch for each replica: tensors of shape ``(replicas, ...)``."""
        return self._step(batch, 0)

    @torch.no_grad()
    def _step(self, batch: Sequence[Any], axis: int | None) -> Tensor:
        around = ReplicaAround(self._moved, self._optimizer, self.count, seed=self._seeds[0], seeds=self._seeds)
        passes = _Passes(self._weights, self._moved, lambda point: self._losses(point, batch, axis))
        direction = _run(self.method.direction(ReplicaStep(self.count, (), around)), passes)
        with Shield():
            for name, part in direction.parts.items():
                _add(self._weights[name], part)
            self.count += 1
            self.passes += passes.count
            self.telemetry = {"passes": passes.count, "loss": passes.loss, **passes.sharpness}
        return passes.loss


class _Passes:
    """Answers the requests of one step."""

    def __init__(self, weights: Weights, moved: Weights, losses: Callable[[Mapping[str, Tensor]], Tensor]) -> None:
        self._weights, self._moved, self._losses = weights, moved, losses
        self._clean: list[Tensor] = []
        self._beside: list[Tensor] = []

    def __call__(self, request: object) -> ReplicaVector:
        """The gradient of every replica, or the product of its Hessian with a vector."""
        if not isinstance(request, Request) or request.on or request.loss or request.matrix != "hessian":
            refuse("takes gradients of the whole loss")
        point = dict(self._weights)
        for name, e in _offset(request.at, self._moved).parts.items():
            point[name] = nn.Parameter(point[name] + e)
        with torch.enable_grad():
            losses = self._losses(point)
            along = request.along and request.along.only(frozenset(self._moved))
            gradients = _answer(losses, {name: w for name, w in point.items() if w.requires_grad}, along)
        (self._clean if request.at is None else self._beside).append(losses.detach())
        return ReplicaVector(gradients)

    @property
    def count(self) -> int:
        return len(self._clean) + len(self._beside)

    @property
    def loss(self) -> Tensor:
        """At the weights, or at the first point where it was asked for."""
        return (self._clean or self._beside)[0]

    @property
    def sharpness(self) -> dict[str, Tensor]:
        both = self._clean and self._beside
        return {"sharpness": self._beside[-1] - self._clean[0]} if both else {}


def _run(algorithm: Direction, passes: _Passes) -> Vector:
    answer = None
    while True:
        try:
            request = algorithm.send(answer)
        except StopIteration as finished:
            return finished.value
        answer = passes(request)


def _offset(at: Ball | Vector | None, moved: Mapping[str, Tensor]) -> Vector:
    """How far the weights go: nowhere for a replica whose direction is zero or not finite."""
    if at is None:
        return ReplicaVector()
    return farthest(at, moved) if isinstance(at, Ball) else finite(at.only(frozenset(moved)))


def _answer(losses: Tensor, weights: Weights, along: Vector | None) -> dict[str, Tensor]:
    """Of every replica by its own weights, as no loss depends on another's; without what it does not depend on.

    Raises:
        ValueError: If no loss depends on any weight.
    """
    if not losses.requires_grad:
        raise ValueError("The loss must depend on a trainable parameter, got one that depends on none.")
    gradients = _derivative(losses.sum(), weights, again=along is not None)
    if along is None:
        return gradients
    slopes = [(g * along.parts[name]).sum() for name, g in gradients.items() if name in along.parts]
    slope = sum(slopes, torch.zeros(()))
    return _derivative(slope, weights) if slope.requires_grad else {}


def _derivative(value: Tensor, weights: Weights, again: bool = False) -> dict[str, Tensor]:
    found = torch.autograd.grad(value, list(weights.values()), create_graph=again, allow_unused=True)
    return {name: part for name, part in zip(weights, found, strict=True) if part is not None}


def _add(w: nn.Parameter, part: Tensor) -> None:
    if w.grad is None:
        w.grad = part.clone(memory_format=torch.contiguous_format)  # autograd may give several weights one tensor
    else:
        w.grad.add_(part)
