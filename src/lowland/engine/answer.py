"""Answers the requests of one step, and leaves everything as it was."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

import torch
from torch import Tensor, nn

from lowland.engine.buffers import Buffers
from lowland.engine.objective import Objective
from lowland.engine.perturb import Perturbation
from lowland.engine.randomness import Randomness
from lowland.engine.request import Ball, Request, Shard
from lowland.engine.shield import Shield
from lowland.types import Closure
from lowland.vector import Vector, ratio

__all__ = ["Answers", "Policy", "Subject"]


@dataclass(frozen=True)
class Policy:
    """What passes after the first do to buffers and random numbers, and whether to watch closely."""

    buffers: Literal["clean", "every"] = "clean"
    rng: Literal["same", "fresh"] = "same"
    watch: bool = False


@dataclass(frozen=True)
class Subject:
    """What is trained: a model's parts, gathered once."""

    parameters: Mapping[str, nn.Parameter]
    modules: Sequence[nn.Module]
    buffers: Buffers
    randomness: Randomness
    moved: frozenset[str]
    factors: Mapping[str, float]


class Answers:
    """The passes of one step.

    Inside the ``with`` block the gradients of earlier micro-batches are set aside; :meth:`add` adds the step's
    direction to them. If anything is raised, Ctrl-C included, then weights, gradients, buffers, modes and
    random state are as they were before the block.

    Attributes:
        loss: The loss at the weights, summed over shards and closures, on the device.
        passes: Passes over the step's data so far; a shard counts as its share.
        sound: Whether every gradient that was ascended along was finite, on the device.
    """

    def __init__(
        self,
        subject: Subject,
        policy: Policy,
        closures: Sequence[Closure],
        scaler: torch.amp.GradScaler | None,
        shield: Shield,
    ) -> None:
        self._shield = shield
        self._subject, self._policy, self._closures, self._scaler = subject, policy, closures, scaler
        self._trained = {name: p for name, p in subject.parameters.items() if p.requires_grad}
        self._starts: dict[Shard | None, list[Tensor]] = {}
        self._losses: dict[Shard | None, Tensor] = {}
        self._beside: dict[Shard | None, Tensor] = {}
        self._scales: list[Tensor] = []
        self._lengths: list[Tensor] = []
        self._clean = Vector()
        self.passes = 0.0
        self.sound = torch.tensor(True)

    def __enter__(self) -> Self:
        self._modes = [module.training for module in self._subject.modules]
        self._random = self._subject.randomness.state()
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
            torch.clear_autocast_cache()

    def add(self, direction: Vector, kept: Mapping[str, Vector]) -> None:
        """Add ``direction`` to the gradients set aside; ``kept`` is memory that they must not share."""
        if self._scaler is not None:
            _spoil_unless(self.sound, direction)
        remembered = {id(part) for vector in kept.values() for part in vector.parts.values()}
        for name, part in direction.parts.items():
            before = self._grads[name]
            if before is not None:
                before.add_(part)
            else:
                self._grads[name] = part.clone() if id(part) in remembered else part

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
        self.sound = self.sound.to(length.device) & torch.isfinite(length)
        if self._policy.watch and isinstance(request.at, Ball):
            self._lengths.append(ratio(moved.distance(), torch.as_tensor(request.at.rho)))
        torch.clear_autocast_cache()

    def _passed(self, request: Request) -> Vector:
        """One pass under the policies for buffers and random numbers."""
        subject, on = self._subject, request.on
        if on not in self._starts and None not in self._starts:
            self._starts[on] = subject.randomness.state()
            return self._gradient(request, first=True)
        frontier = subject.randomness.state()
        buffers = subject.buffers.snapshot() if self._policy.buffers == "clean" else None
        if self._policy.rng == "same":
            subject.randomness.set(self._starts.get(on, self._starts.get(None, frontier)))
        gradient = self._gradient(request, first=False)
        if self._policy.rng == "same":
            subject.randomness.set(frontier)
        if buffers is not None:
            subject.buffers.restore(buffers)
        return gradient

    def _gradient(self, request: Request, first: bool) -> Vector:
        chosen = self._closures if request.on is None else [self._closures[request.on.closure]]
        share = 1.0 if request.on is None else request.on.share
        self._clear_gradients()
        losses = [self._backward(closure, request, first) for closure in chosen]
        total = losses[0] if len(losses) == 1 else torch.stack(losses).sum()
        clean = request.at is None and first
        (self._losses if clean else self._beside)[request.on] = total if share == 1 else share * total
        self.passes += share * len(chosen) / len(self._closures)
        gradient = Vector({name: p.grad for name, p in self._trained.items() if p.grad is not None})
        self._clear_gradients()
        if clean and self._policy.watch:
            self._clean = self._clean + (share * gradient)
        return gradient

    def _backward(self, closure: Closure, request: Request, first: bool) -> Tensor:
        untouched = all(p.grad is None for p in self._trained.values())
        with self._shield.opened(), torch.enable_grad():
            loss = closure(request.on.rows) if request.on and isinstance(closure, Objective) else closure()
        _check(loss)
        if untouched and any(p.grad is not None for p in self._trained.values()):
            raise RuntimeError("The closure must not call backward itself: it computes the loss and returns it.")
        with self._shield.opened(), torch.enable_grad():
            (loss if self._scaler is None else self._scaler.scale(loss)).backward()
        if isinstance(closure, Objective) and first:
            closure.keep()
        return loss.detach()

    def _clear_gradients(self) -> None:
        for p in self._trained.values():
            p.grad = None

    def _roll_back(self) -> None:
        self._subject.buffers.restore(self._buffers)
        self._subject.randomness.set(self._random)
        for module, training in zip(self._subject.modules, self._modes, strict=True):
            module.training = training


def _sum(losses: Mapping[Shard | None, Tensor]) -> Tensor:
    terms = list(losses.values())
    return terms[0] if len(terms) == 1 else torch.stack(terms).sum()


def _check(loss: object) -> None:
    if not isinstance(loss, Tensor):
        raise TypeError(f"The closure must return the loss, a tensor, got {type(loss).__name__}.")
    if loss.numel() != 1:
        raise ValueError(
            f"The closure must return a scalar loss, got shape {tuple(loss.shape)}: reduce it, as by .mean()."
        )
    if not loss.requires_grad:
        raise ValueError("The closure's loss must depend on a trainable parameter, got one without a graph.")


def _spoil_unless(sound: Tensor, direction: Vector) -> None:
    """Put one nan into a direction that came of a gradient which was not finite, so that the scaler skips it."""
    for part in direction.parts.values():
        first = part[(0,) * part.ndim]
        first.copy_(torch.where(sound.to(first.device), first, torch.full_like(first, torch.nan)))
        return
