"""A method bound to a model: the object whose ``backward`` stands in for ``loss.backward()``."""

import weakref
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lowland.checks import one_of
from lowland.engine.afterwards import Afterwards
from lowland.engine.answer import Answers, Policy
from lowland.engine.around import Around
from lowland.engine.memory import Memory
from lowland.engine.request import Direction, Look, Request
from lowland.engine.shield import Shield
from lowland.engine.sites import Where
from lowland.engine.step import Step
from lowland.engine.subject import subject
from lowland.types import Closure, State
from lowland.vector import Vector

__all__ = ["Engine"]

COUNTERS = ("count", "calls", "passes", "forwards")


class Algorithm(Protocol):
    """What the engine needs of a method."""

    @property
    def where(self) -> Where | None:
        """Which parameters it perturbs."""
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
    ) -> None:
        self.method, self.policy = method, policy or Policy()
        one_of("buffers", self.policy.buffers, ["clean", "every"])
        one_of("rng", self.policy.rng, ["same", "fresh"])
        self._subject = subject(model, method.where, where, radii)
        self.count, self.calls, self.passes, self.forwards = 0, 0, 0.0, 0.0
        self.telemetry: dict[str, float | Tensor] = {}
        self._memory = Memory()
        self._afterwards = Afterwards(self._subject.parameters)
        self._optimizer = optimizer
        if optimizer is not None:
            _refuse_strangers(optimizer, self._subject.parameters)
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
        """
        _check_closures(closures)
        self._subject.refuse_changes()
        self._afterwards.begin()
        step = self._step(closures, scaler)
        with Shield() as shield, torch.no_grad():
            with Answers(self._subject, self.policy, closures, scaler, shield) as answers:
                direction = _run(self.method.direction(step), answers)
                telemetry = answers.telemetry(direction)
                answers.add(direction, self._memory)
            self._afterwards.add(step.afterwards)
            self._memory = self._memory.updated(step.written)
            self.telemetry = telemetry
            self.passes += answers.passes
            self.forwards += answers.forwards
            self.calls += 1
            self.count += self._optimizer is None
        return answers.loss

    def state_dict(self) -> State:
        """What the method remembers, by parameter name, and the counters; loads with ``weights_only=True``."""
        counters = {name: getattr(self, name) for name in COUNTERS}
        return {"method": type(self.method).__name__, **counters, **self._memory.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state_dict`` was taken.

        Raises:
            ValueError: If the state is another method's, or names parameters that the model lacks.
        """
        lacking = {"method", *COUNTERS, "memory", "degrees"} - set(state)
        if lacking:
            raise ValueError(
                f"The state must be one that state_dict made, got one without {', '.join(sorted(lacking))}."
            )
        if state["method"] != type(self.method).__name__:
            raise ValueError(
                f"The state must be this method's, {type(self.method).__name__}, got one of {state['method']}."
            )
        self._memory = Memory.of(state, self._subject.parameters)
        for name in COUNTERS:
            setattr(self, name, state[name])

    def _step(self, closures: Sequence[Closure], scaler: torch.amp.GradScaler | None) -> Step:
        subject = self._subject
        moved = {n: p for n, p in subject.parameters.items() if n in subject.moved and p.requires_grad}
        scale = None
        if scaler is not None and scaler.is_enabled():
            scale = scaler.scale(torch.ones((), device=next(iter(moved.values())).device))
        return Step(self.count, tuple(closures), Around(moved, self._optimizer, self.calls), self._memory, scale)

    def _follow(self, optimizer: torch.optim.Optimizer) -> None:
        """Count the optimiser's steps, without keeping this engine alive for it."""
        engine = weakref.ref(self)

        def count(*_: object) -> None:
            if (found := engine()) is not None:
                found.count += 1
                found._afterwards.apply(optimizer)

        optimizer.register_step_post_hook(count)

    def __setstate__(self, state: State) -> None:
        self.__dict__.update(state)
        if self._optimizer is not None:
            self._follow(self._optimizer)  # a copied optimiser has lost its hooks


def _run(algorithm: Direction, answers: Answers) -> Vector:
    if not isinstance(algorithm, Generator):
        raise TypeError("direction must be a generator that yields step.gradient(...) and returns a Vector.")
    try:
        request = next(algorithm)
        while True:
            if not isinstance(request, Request | Look):
                raise TypeError(f"direction must yield step.gradient(...), got {type(request).__name__}.")
            request = algorithm.send(answers(request))
    except StopIteration as finished:
        return _checked(finished.value, answers)
    finally:
        algorithm.close()


def _checked(direction: object, answers: Answers) -> Vector:
    if not isinstance(direction, Vector):
        raise TypeError(f"direction must return a Vector, got {type(direction).__name__}.")
    if not answers.passes:
        raise TypeError("direction must ask for at least one gradient, got none.")
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


def _refuse_strangers(optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]) -> None:
    known = {id(p) for p in parameters.values()}
    count = sum(id(p) not in known for group in optimizer.param_groups for p in group["params"])
    if count:
        raise ValueError(
            f"The optimiser must train only the model's parameters, got {count} of others: "
            "bind one module that contains them all."
        )
