"""Answers the requests of one step, and leaves everything as it was."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

import torch
from torch import Tensor

from lowland.engine.backward import Backward
from lowland.engine.objective import Objective
from lowland.engine.perturb import Perturbation
from lowland.engine.randomness import Randomness
from lowland.engine.request import Ball, Request, Shard
from lowland.engine.shield import Shield
from lowland.engine.subject import Subject
from lowland.types import Closure
from lowland.vector import Vector, ratio

__all__ = ["Answers", "Policy"]


@dataclass(frozen=True)
class Policy:
    """What passes after the first do to buffers and random numbers, and whether to watch closely."""

    buffers: Literal["clean", "every"] = "clean"
    rng: Literal["same", "fresh"] = "same"
    watch: bool = False


class Answers:
    """The passes of one step.

    Inside the ``with`` block the gradients of earlier micro-batches are set aside; :meth:`add` adds the step's
    direction to them. If anything is raised, Ctrl-C included, then weights, gradients, buffers, modes and
    random state are as they were before the block.

    Attributes:
        loss: The loss at the weights, summed over shards and closures, on the device.
        passes: Passes over the step's data so far; a shard counts as its share.
    """

    def __init__(
        self,
        subject: Subject,
        policy: Policy,
        closures: Sequence[Closure],
        scaler: torch.amp.GradScaler | None,
        shield: Shield,
    ) -> None:
        self._subject, self._policy, self._closures = subject, policy, closures
        self._skips = scaler is not None and scaler.is_enabled()
        self._trained = {name: p for name, p in subject.parameters.items() if p.requires_grad}
        self._randomness = Randomness({p.device for p in subject.parameters.values()})
        self._backward = Backward(self._trained, scaler, shield)
        self._starts: dict[Shard | None, list[Tensor]] = {}
        self._losses: dict[Shard | None, Tensor] = {}
        self._beside: dict[Shard | None, Tensor] = {}
        self._scales: list[Tensor] = []
        self._lengths: list[Tensor] = []
        self._clean = Vector()
        self.passes = 0.0
        self._sound: Tensor | None = None

    def __enter__(self) -> Self:
        self._modes = [module.training for module in self._subject.modules]
        self._random = self._randomness.state()
        self._buffers = self._subject.buffers.snapshot()
        self._grads = {name: p.grad for name, p in self._trained.items()}
        for closure in self._closures:
            if isinstance(closure, Objective):
                closure.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, p in self._trained.items():
            p.grad = self._grads[name]
        if kind is not None:
            self._roll_back()

    def __call__(self, request: Request) -> Vector:
        """The gradient that was asked for, in units of the scaled loss."""
        if request.at is None:
            return self._passed(request)
        weights = {name: p.data for name, p in self._trained.items() if name in self._subject.moved}
        moved = Perturbation(weights, self._subject.factors)
        try:
            self._move(moved, request)
            return self._passed(request)
        finally:
            moved.restore()
            self._follow(weights)
            torch.clear_autocast_cache()

    def add(self, direction: Vector, memory: Mapping[str, Vector]) -> None:
        """Add ``direction`` to the gradients set aside; they must not share tensors with ``memory``."""
        remembered = {id(part) for vector in memory.values() for part in vector.parts.values()}
        parts = {name: part for name, part in direction.parts.items() if name in self._trained}
        new = {
            name: part.clone() if id(part) in remembered else part
            for name, part in parts.items()
            if self._grads[name] is None
        }
        for name, part in parts.items():
            before = self._grads[name]
            if before is not None:
                before.add_(part)
        self._grads |= new
        if self._skips and self._sound is not None:
            _spoil_unless(self._sound, [grad for name in parts if (grad := self._grads[name]) is not None])

    @property
    def loss(self) -> Tensor:
        """The loss at the weights, or at the only point where it was asked for."""
        return _sum(self._losses or self._beside)

    def telemetry(self, direction: Vector) -> dict[str, float | Tensor]:
        """What the step did, on the device; see :attr:`lowland.engine.bind.Engine.telemetry`."""
        loss = self.loss
        seen: dict[str, float | Tensor] = {"passes": self.passes, "loss": loss}
        if self._losses and self._beside:
            seen["sharpness"] = _sum(self._beside) - loss
        if self._scales:
            seen["ascended"] = (torch.stack(self._scales) > 0).float().mean()
        if self._lengths:
            seen["length"] = torch.stack(self._lengths).mean()
        if self._policy.watch:
            product = self._clean.norm() * direction.norm()
            seen["cosine"] = ratio(self._clean.dot(direction), product)
        return seen

    def _move(self, moved: Perturbation, request: Request) -> None:
        assert request.at is not None
        scale, length = moved.apply(request.at, request.spend)
        self._scales.append(scale)
        finite = torch.isfinite(length)
        self._sound = finite if self._sound is None else self._sound & finite
        if self._policy.watch and isinstance(request.at, Ball):
            self._lengths.append(moved.distance() / request.at.rho)
        torch.clear_autocast_cache()

    def _follow(self, weights: Mapping[str, Tensor]) -> None:
        """Restore weights that the pass itself moved to another place, as cuDNN does to flatten an LSTM."""
        for name, w in weights.items():
            if not w.is_meta and self._trained[name].data_ptr() != w.data_ptr():
                self._trained[name].data.copy_(w)

    def _passed(self, request: Request) -> Vector:
        """One pass under the policies for buffers and random numbers."""
        subject, on = self._subject, request.on
        if on not in self._starts and None not in self._starts:
            self._starts[on] = self._randomness.state()
            return self._gradient(request, first=True)
        frontier = self._randomness.state()
        buffers = subject.buffers.snapshot() if self._policy.buffers == "clean" else None
        if self._policy.rng == "same":
            self._randomness.set(self._starts.get(on, self._starts.get(None, frontier)))
        gradient = self._gradient(request, first=False)
        if self._policy.rng == "same":
            self._randomness.set(frontier)
        if buffers is not None:
            subject.buffers.restore(buffers)
        return gradient

    def _gradient(self, request: Request, first: bool) -> Vector:
        chosen = self._closures if request.on is None else [self._closures[request.on.closure]]
        share = 1.0 if request.on is None else request.on.share
        self._clear_gradients()
        losses = [self._loss_of(closure, request, first) for closure in chosen]
        total = losses[0] if len(losses) == 1 else torch.stack(losses).sum()
        clean = request.at is None and first
        (self._losses if clean else self._beside)[request.on] = total if share == 1 else share * total
        self.passes += share * len(chosen) / len(self._closures)
        gradient = Vector(_apart({name: p.grad for name, p in self._trained.items() if p.grad is not None}))
        self._clear_gradients()
        if clean and self._policy.watch:
            self._clean = self._clean + (share * gradient)
        return gradient

    def _loss_of(self, closure: Closure, request: Request, first: bool) -> Tensor:
        loss = self._backward(closure, request.on, self._subject.unseen())
        if isinstance(closure, Objective) and first:
            closure.keep()
        return loss

    def _clear_gradients(self) -> None:
        for p in self._trained.values():
            p.grad = None

    def _roll_back(self) -> None:
        self._subject.buffers.restore(self._buffers)
        self._randomness.set(self._random)
        for module, training in zip(self._subject.modules, self._modes, strict=True):
            module.training = training


def _sum(losses: Mapping[Shard | None, Tensor]) -> Tensor:
    terms = list(losses.values())
    return terms[0] if len(terms) == 1 else torch.stack(terms).sum()


def _apart(gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Autograd may give two parameters one gradient, as of ``a[None] + b[None]``; ours are changed in place.

    Raises:
        TypeError: If a gradient is sparse.
    """
    own: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, gradient in gradients.items():
        if gradient.layout is not torch.strided:
            raise TypeError(f"Gradients must be dense, got a sparse one for {name!r}: make it with sparse=False.")
        address = 0 if gradient.is_meta else gradient.data_ptr()
        own[name] = gradient.clone() if address and address in seen else gradient
        seen.add(address)
    return own


def _spoil_unless(sound: Tensor, gradients: list[Tensor]) -> None:
    """Put a nan into gradients that came of one which was not finite, so that a scaler skips the step."""
    firsts = [gradient[(0,) * gradient.ndim] for gradient in gradients if gradient.numel()]
    if firsts:
        torch._foreach_add_(firsts, torch.where(sound, 0.0, torch.nan).to(firsts[0]))
