"""A method bound to a model: the object whose ``backward`` stands in for ``loss.backward()``."""

import weakref
from collections.abc import Generator, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from lowland.checks import one_of, whole
from lowland.engine.afterwards import Afterwards
from lowland.engine.answer import Answers, Policy
from lowland.engine.around import Around
from lowland.engine.masters import Masters, warn_of_rounding
from lowland.engine.memory import Memory
from lowland.engine.request import Direction, Look, Request
from lowland.engine.sites import Where
from lowland.engine.step import Step
from lowland.engine.subject import Subject, subject
from lowland.shield import Shield
from lowland.types import Closure, State
from lowland.vector import Vector

__all__ = ["Engine"]

COUNTERS = ("count", "calls", "passes", "forwards", "seed")


class Algorithm(Protocol):
    """What the engine needs of a method."""

    COPIES: ClassVar[float]

    @property
    def where(self) -> Where | None:
        """Which parameters it perturbs."""
        ...

    @property
    def sharded(self) -> bool:
        """Whether it works where every process has but a part of the weights."""
        ...

    def direction(self, step: Step) -> Direction:
        """The algorithm of one step."""
        ...


class Engine:
    """Takes the passes that a method asks for, and adds its direction to the gradients.

    The weights are bit-identical after ``backward``; the optimiser, the scheduler, clipping and checkpoints
    stay the user's own. Made by :meth:`lowland.Method.bind`, which explains the arguments.

    Attributes:
        count: Steps taken so far: the bound optimiser's, or calls of ``backward`` where none is bound.
        passes: Forward-backward passes over a whole batch so far.
        forwards: Forward passes without a backward so far, counted alike.
        reduced_bytes: Bytes of gradients that this process has given into reductions over processes so far; what
            FSDP reduces is not counted.
        telemetry: What the last step did, numbers and scalars on the device, never waited for: ``passes``,
            ``forwards``; ``loss``; ``sharpness``, the loss at the perturbed weights less the clean loss;
            ``ascended``, the share of perturbations that were real (neither zero nor skipped as not finite). With
            ``watch=True`` also ``cosine``, between the clean gradient and the direction, and ``length``, that of
            the perturbation after rounding, in units of rho.
    """

    def __init__(
        self,
        method: Algorithm,
        model: nn.Module,
        *,
        optimizer: torch.optim.Optimizer | None = None,
        where: Where | None = None,
        radii: Mapping[str, float] | None = None,
        policy: Policy | None = None,
        ascent: str | None = None,
        masters: Masters | None = None,
        seed: int = 0,
    ) -> None:
        self.method, self.policy = method, policy or Policy()
        one_of("buffers", self.policy.buffers, ["clean", "every"])
        one_of("rng", self.policy.rng, ["same", "fresh"])
        self._subject = subject(model, method.where, where, radii, ascent, masters)
        _refuse_shards(method, self._subject)
        self.count, self.calls, self.passes, self.forwards = 0, 0, 0.0, 0.0
        whole("seed", seed, low=0)
        self.seed = seed
        self.telemetry: dict[str, float | Tensor] = {}
        self._memory, self._running = Memory(), False
        self._afterwards = Afterwards(self._subject.leaves, self._subject.processes)
        optimizer = _bare(optimizer)
        _refuse_non_optimizer(optimizer)
        self._optimizer = optimizer
        if masters is not None and optimizer is None:
            raise ValueError(
                "masters must come with the optimizer that trains them: bind(..., optimizer=optimizer)."
            )
        if method.COPIES:
            warn_of_rounding([leaf for name, leaf in self._subject.leaves.items() if name in self._subject.moved])
        if optimizer is not None:
            _refuse_strangers(optimizer, self._subject.leaves, masters is not None)
            self._follow(optimizer)

    def backward(self, closure: Closure, *, scaler: torch.amp.GradScaler | None = None) -> Tensor:
        """Add the method's direction to ``.grad``, like ``loss.backward()`` adds the gradient.

        Under accumulation each call ascends by itself (m-sharpness, m the micro-batch).

        Args:
            closure: Computes the loss and returns it, without calling backward; called once per pass. A
                :func:`lowland.objective` serves methods that need examples.
            scaler: The gradient scaler, for float16. Unscale, clip and step as ever afterwards. A step whose first
                gradient is not finite is spoilt with a nan, so that the scaler skips it.

        Returns:
            The loss at the weights, unscaled, detached, on the device.

        Raises:
            TypeError: If ``closure`` cannot be called or returns no tensor, or the method needs examples.
            ValueError: If the loss is not a scalar or depends on no trainable parameter.
            RuntimeError: If the closure calls backward itself.
        """
        return self.backward_many([closure], scaler=scaler)

    def backward_many(self, closures: Sequence[Closure], *, scaler: torch.amp.GradScaler | None = None) -> Tensor:
        """Like :meth:`backward` for a loss that is a sum over micro-batches, with one ascent for all of them.

        Args:
            closures: The losses to be summed; to average, divide each by their number. All are called in
                every pass, so their data must still be at hand.
            scaler: As for :meth:`backward`.

        Returns:
            The summed loss at the weights.

        Raises:
            TypeError: If there is something that cannot be called.
            ValueError: If there is no closure.
            RuntimeError: If it is called inside a closure.
        """
        closures = list(closures)
        _check_closures(closures)
        if self._running:
            raise RuntimeError("The closure must not call backward itself: it computes the loss and returns it.")
        self._subject.refuse_changes()
        self._afterwards.begin()
        step = self._step(closures, scaler)
        with Shield() as shield, torch.no_grad():
            self._running = True
            try:
                with Answers(self._subject, self.policy, closures, scaler, shield) as answers:
                    direction = _run(self.method.direction(step), answers)
                    telemetry = answers.telemetry(direction)
                    answers.add(direction, step.kept)
            finally:
                self._running = False
            self._afterwards.add(step.afterwards)
            self._memory = self._memory.updated(step.written)
            self.telemetry = telemetry
            self.passes += answers.passes
            self.forwards += answers.forwards
            self.calls += 1
            self.count += self._optimizer is None
        return answers.loss

    @property
    def reduced_bytes(self) -> int:
        """Bytes of gradients that this process has given into reductions over processes so far."""
        return self._subject.processes.reduced_bytes

    def state_dict(self, *, gathered: bool = False) -> State:
        """What the method remembers, by parameter name, and the counters; loads with ``weights_only=True``.

        Args:
            gathered: Whether the state is to hold what every process remembers: with local ascent each has memory
                of its own. All processes must ask at once, all get it, and each finds its own on loading. Of no
                account elsewhere: processes that ascend together remember the same, or parts of the same, which
                :mod:`torch.distributed.checkpoint` saves and shards anew.
        """
        others = self._subject.processes
        state = {
            "method": type(self.method).__name__,
            **{name: getattr(self, name) for name in COUNTERS},
            **self._memory.state_dict(self._subject.parameters, others),
            "rank": others.rank,
            "ranks": others.ranks,
        }
        return {"processes": others.gathered(state)} if gathered and others.ranks > 1 else state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state_dict`` was taken.

        Raises:
            ValueError: If the state is another method's, names parameters that the model lacks, or is of another
                process that remembers for itself.
        """
        others = self._subject.processes
        if "processes" in state:
            state = state["processes"].get(str(others.rank), state["processes"]["0"])
        lacking = {"method", *COUNTERS, "memory", "degrees", "remembers", "rank", "ranks"} - set(state)
        if lacking:
            raise ValueError(
                f"The state must be one that state_dict made, got one without {', '.join(sorted(lacking))}."
            )
        if state["method"] != type(self.method).__name__:
            raise ValueError(
                f"The state must be this method's, {type(self.method).__name__}, got one of {state['method']}."
            )
        if state["remembers"] and (state["rank"], state["ranks"]) != (others.rank, others.ranks):
            raise ValueError(
                f"The state must be of process {others.rank} of {others.ranks} that remember for themselves, got "
                f"one of process {state['rank']} of {state['ranks']}: save engine.state_dict(gathered=True), and "
                "load it in as many processes with the same ascent."
            )
        self._memory = Memory.of(state, self._subject.parameters, others)
        for name in COUNTERS:
            setattr(self, name, state[name])

    def _step(self, closures: Sequence[Closure], scaler: torch.amp.GradScaler | None) -> Step:
        subject = self._subject
        moved = {n: leaf for n, leaf in subject.leaves.items() if n in subject.moved and leaf.requires_grad}
        scale = None
        if scaler is not None and scaler.is_enabled():
            scale = scaler.scale(torch.ones((), device=next(iter(subject.leaves.values())).device))
        around = Around(moved, self._optimizer, self.calls, subject.processes, self.seed)
        memory = self._memory.like(subject.leaves)
        return Step(self.count, tuple(closures), around, memory, scale)

    def _follow(self, optimizer: torch.optim.Optimizer) -> None:
        """Count the optimiser's steps, without keeping this engine alive for it."""
        engine = weakref.ref(self)

        def count(*_: object) -> None:
            if (found := engine()) is not None:
                found.count += 1
                found._afterwards.apply(optimizer)
                found._subject.push()

        optimizer.register_step_post_hook(count)

    def __setstate__(self, state: State) -> None:
        self.__dict__.update(state)
        if self._optimizer is not None:
            self._follow(self._optimizer)  # a copied optimiser has lost its hooks


def _bare(optimizer: torch.optim.Optimizer | None) -> torch.optim.Optimizer | None:
    """The optimiser inside a host's wrapper, such as Accelerate's, which has no hooks."""
    while isinstance(inner := getattr(optimizer, "optimizer", None), torch.optim.Optimizer):
        optimizer = inner
    return optimizer


def _refuse_non_optimizer(optimizer: object) -> None:
    if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(
            f"optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}: make it first."
        )


def _run(algorithm: Direction, answers: Answers) -> Vector:
    if not isinstance(algorithm, Generator):
        raise TypeError("direction must be a generator that yields step.gradient(...) and returns a Vector.")
    answer = None
    try:
        while True:
            try:
                request = algorithm.send(answer)
            except StopIteration as finished:
                return _checked(finished.value, answers)
            answer = None  # its memory is the method's alone now
            if not isinstance(request, Request | Look):
                raise TypeError(f"direction must yield step.gradient(...), got {type(request).__name__}.")
            answer = answers(request)  # apart, as the closure may raise StopIteration itself
    finally:
        algorithm.close()


def _checked(direction: object, answers: Answers) -> Vector:
    if not isinstance(direction, Vector):
        raise TypeError(f"direction must return a Vector, got {type(direction).__name__}.")
    if not answers.passes:
        raise TypeError("direction must ask for at least one gradient, got none.")
    for name, part in direction.parts.items():
        if not answers.fits(name, part):
            raise ValueError(
                f"direction must return tensors that match the gradients, got {part.dtype} of shape "
                f"{tuple(part.shape)} for {name!r}."
            )
    return direction


def _check_closures(closures: Sequence[Closure]) -> None:
    if not closures:
        raise ValueError("backward_many must be given at least one closure, got none.")
    for closure in closures:
        if not callable(closure):
            raise TypeError(
                f"The closure must compute the loss when called, got {type(closure).__name__}: "
                "write backward(lambda: criterion(model(x), y))."
            )


def _refuse_shards(method: Algorithm, found: Subject) -> None:
    if found.processes.total is not None and not method.sharded:
        raise NotImplementedError(
            f"{type(method).__name__} must see all weights at once, got a model that fully_shard was applied to: "
            "use DistributedDataParallel."
        )


def _refuse_strangers(
    optimizer: torch.optim.Optimizer, leaves: Mapping[str, nn.Parameter], mastered: bool
) -> None:
    known = {id(p) for p in leaves.values()}
    count = sum(id(p) not in known for group in optimizer.param_groups for p in group["params"])
    if not count:
        return
    if mastered:
        raise ValueError(
            f"The optimiser must train the masters, got {count} other parameters: make it of masters.parameters()."
        )
    raise ValueError(
        f"The optimiser must train only the model's parameters, got {count} of others: bind one module that "
        "contains them all, or, if they are float32 masters, bind(..., masters=masters)."
    )
