"""Answers the requests of one step, and leaves everything as it was."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Literal, Self, TypeVar

import torch
from torch import Tensor

from lowland.engine.aliases import overlapping
from lowland.engine.backward import Backward
from lowland.engine.objective import Objective
from lowland.engine.perturb import Perturbation
from lowland.engine.randomness import Randomness
from lowland.engine.request import Ball, Look, Part, Request
from lowland.engine.subject import Subject
from lowland.shield import Shield
from lowland.types import Closure
from lowland.vector import Vector, ratio

__all__ = ["Answers", "Policy"]

Answer = TypeVar("Answer", Tensor, Vector)


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
        passes: Forward-backward passes over the step's data so far; a part counts as its share.
        forwards: Forward passes without a backward, counted alike.
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
        self._processes = subject.processes
        self._skips = scaler is not None and scaler.is_enabled()
        self._trained = {name: p for name, p in subject.parameters.items() if p.requires_grad}
        self._leaves = {name: subject.leaves[name] for name in self._trained}
        self._randomness = Randomness({*(p.device for p in subject.parameters.values()), *self._processes.devices})
        self._backward = Backward(self._trained, scaler, shield)
        self._starts: dict[Part | int | None, list[Tensor]] = {}
        self._losses: dict[Part | None, Tensor] = {}
        self._beside: dict[Part | None, Tensor] = {}
        self._scales: list[Tensor] = []
        self._lengths: list[Tensor] = []
        self._clean = Vector()
        self.passes, self.forwards = 0.0, 0.0
        self._sound: Tensor | None = None

    def __enter__(self) -> Self:
        self._modes = [module.training for module in self._subject.modules]
        self._random = self._randomness.state()
        self._buffers = self._subject.buffers.snapshot()
        self._own = {name: p.grad for name, p in self._trained.items()}
        self._grads: dict[str, Tensor | None] = {name: leaf.grad for name, leaf in self._leaves.items()}
        for closure in self._closures:
            if isinstance(closure, Objective):
                closure.begin()
        self._processes.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._processes.leave(failed=kind is not None)
        for name, p in self._trained.items():
            p.grad = self._own[name]
            self._leaves[name].grad = self._grads[name]
        if kind is not None:
            self._roll_back()

    def __call__(self, request: Request | Look) -> Vector | Tensor:
        """What was asked for: a gradient in units of the scaled loss, or the losses of examples, unscaled."""
        if request.at is None:
            return self._passed(request)
        moving = {name: leaf for name, leaf in self._leaves.items() if name in self._subject.moved}
        weights = self._processes.weights(moving)
        moved = Perturbation(weights, self._subject.factors)
        try:
            self._move(moved, request)
            self._subject.push()
            return self._passed(request)
        finally:
            moved.restore()
            self._subject.push()
            self._follow(weights)
            torch.clear_autocast_cache()

    def add(self, direction: Vector, remembered: Collection[int]) -> None:
        """Add ``direction`` to the gradients set aside; they must not share the tensors with these identities."""
        sums: dict[str, Tensor] = {}
        for name, part in direction.parts.items():
            if name in self._trained:
                before = self._grads[name]
                if before is not None:
                    sums[name] = self._processes.local(before).add_(part)
                else:
                    sums[name] = part.clone() if id(part) in remembered else part
        if self._skips and self._sound is not None:
            _spoil_unless(self._sound, list(sums.values()))
        new = {name: part for name, part in sums.items() if self._grads[name] is None}
        self._grads |= self._processes.spread(new, self._leaves)
        self._grads |= self._processes.combined(self._grads, self._leaves)

    def fits(self, name: str, part: Tensor) -> bool:
        """Whether a tensor can be added to a parameter's gradient; one that is not trained takes any."""
        if name not in self._leaves:
            return True
        leaf = self._processes.local(self._leaves[name])
        return part.shape == leaf.shape and part.dtype == leaf.dtype

    @property
    def loss(self) -> Tensor:
        """The loss at the weights, or at the only point where it was asked for."""
        return _sum(self._losses or self._beside)

    def telemetry(self, direction: Vector) -> dict[str, float | Tensor]:
        """What the step did, on the device; see :attr:`lowland.engine.bind.Engine.telemetry`."""
        loss = self.loss
        seen: dict[str, float | Tensor] = {"passes": self.passes, "forwards": self.forwards, "loss": loss}
        if self._losses.keys() == self._beside.keys():
            seen["sharpness"] = _sum(self._beside) - loss
        if self._scales:
            seen["ascended"] = (torch.stack(self._scales) > 0).float().mean()
        if self._lengths:
            seen["length"] = torch.stack(self._lengths).mean()
        if self._policy.watch:
            product = self._clean.norm() * direction.norm()
            seen["cosine"] = ratio(self._clean.dot(direction), product)
        return seen

    def _move(self, moved: Perturbation, request: Request | Look) -> None:
        assert request.at is not None
        scale, length = moved.apply(request.at, request.spend if isinstance(request, Request) else None)
        self._scales.append(scale)
        finite = torch.isfinite(length)
        self._sound = finite if self._sound is None else self._sound & finite
        if self._policy.watch and isinstance(request.at, Ball):
            self._lengths.append(moved.distance() / request.at.rho)
        torch.clear_autocast_cache()

    def _follow(self, weights: Mapping[str, Tensor]) -> None:
        """Restore weights that the pass itself moved to another place, as cuDNN does to flatten an LSTM."""
        for name, w in weights.items():
            if not w.is_meta and (now := self._processes.local(self._leaves[name])).data_ptr() != w.data_ptr():
                now.data.copy_(w)

    def _passed(self, request: Request | Look) -> Vector | Tensor:
        if isinstance(request, Look):
            return self._under_policy(request.on, lambda first: self._look(request, first))
        return self._under_policy(request.on, lambda first: self._gradient(request, first))

    def _under_policy(self, on: Part | None, run: Callable[[bool], Answer]) -> Answer:
        """One pass under the policies for buffers and random numbers; tells it whether its data is new."""
        subject, start = self._subject, self._start(on)
        if start is None:
            self._starts[on] = self._randomness.state()
            if on is not None and on.share == 1:
                self._starts[on.closure] = self._starts[on]
            return run(True)
        frontier = self._randomness.state()
        buffers = subject.buffers.snapshot() if self._policy.buffers == "clean" else None
        if self._policy.rng == "same":
            self._randomness.set(start)
        answer = run(False)
        if self._policy.rng == "same":
            self._randomness.set(frontier)
        if buffers is not None:
            subject.buffers.restore(buffers)
        return answer

    def _start(self, on: Part | None) -> list[Tensor] | None:
        """The random state at the first pass over this data; None if there was none yet."""
        starts = self._starts
        if on is None:
            return starts.get(None, next(iter(starts.values()), None))
        return starts.get(on, starts.get(on.closure, starts.get(None)))

    def _look(self, look: Look, first: bool) -> Tensor:
        closure, share = self._closures[look.on.closure], look.on.share
        assert isinstance(closure, Objective)  # or the step would not have made the part
        losses = self._backward.look(closure, look.on)
        self._processes.settle()
        if first:
            closure.keep()
        self._note(look, first, share * losses.mean())
        self.forwards += share / len(self._closures)
        return losses

    def _gradient(self, request: Request, first: bool) -> Vector:
        chosen = self._closures if request.on is None else [self._closures[request.on.closure]]
        share = 1.0 if request.on is None else request.on.share
        self._clear_gradients()
        if request.along is not None:
            request = replace(request, along=self._subject.stretched(request.along))
        losses = [self._loss_of(closure, request, first) for closure in chosen]
        total = losses[0] if len(losses) == 1 else torch.stack(losses).sum()
        clean = request.at is None and request.along is None and first
        self._note(request, first, total if share == 1 else share * total)
        self.passes += share * len(chosen) / len(self._closures)
        own = _apart(self._processes.gradients(self._trained))
        own = {name: gradient.to(self._leaves[name].dtype) for name, gradient in own.items()}
        self._clear_gradients()
        gradient = Vector(self._processes.shared(own, self._leaves), self._processes.total)
        if clean and self._policy.watch:
            self._clean = self._clean + (share * gradient)
        return gradient

    def _note(self, request: Request | Look, first: bool, loss: Tensor) -> None:
        if request.at is not None:
            self._beside[request.on] = loss
        elif first:
            self._losses[request.on] = loss

    def _loss_of(self, closure: Closure, request: Request, first: bool) -> Tensor:
        own = request.loss is None
        loss = self._backward(closure, request, self._subject.unseen(own))
        self._subject.saw(own, inputs=bool(self._backward.inputs))
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


def _sum(losses: Mapping[Part | None, Tensor]) -> Tensor:
    terms = list(losses.values())
    return terms[0] if len(terms) == 1 else torch.stack(terms).sum()


def _apart(gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Autograd may give two parameters one gradient, or parts of one, as of ``cat([a, b])``; we write over ours.

    Raises:
        TypeError: If a gradient is sparse.
    """
    for name, gradient in gradients.items():
        if gradient.layout is not torch.strided:
            raise TypeError(f"Gradients must be dense, got a sparse one for {name!r}: make it with sparse=False.")
    entangled = overlapping(gradients)
    return {name: gradient.clone() if name in entangled else gradient for name, gradient in gradients.items()}


def _spoil_unless(sound: Tensor, gradients: list[Tensor]) -> None:
    """Put a nan into gradients that came of one which was not finite, so that a scaler skips the step."""
    firsts = [gradient[(0,) * gradient.ndim] for gradient in gradients if gradient.numel()]
    if firsts:
        torch._foreach_add_(firsts, torch.where(sound, 0.0, torch.nan).to(firsts[0]))
