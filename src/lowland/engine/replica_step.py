"""What a method sees of a step that several replicas take at once."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import count
from typing import Literal, NoReturn

import torch
from torch import Tensor

from lowland.engine.around import Around
from lowland.engine.method import Method
from lowland.engine.replica_vector import ReplicaVector
from lowland.engine.step import Moment, Schedule, Step
from lowland.vector import Vector

__all__ = ["OfEach", "ReplicaAround", "ReplicaStep", "joined", "refuse"]


@dataclass(frozen=True)
class OfEach:
    """The value of a schedule of each replica, of shape ``(replicas,)``."""

    schedules: tuple[Schedule, ...]
    dtype: torch.dtype
    device: torch.device

    def __call__(self, moment: Moment) -> Tensor:
        """The values at this step."""
        values = [float(each(moment)) if callable(each) else each for each in self.schedules]
        return torch.tensor(values, dtype=self.dtype, device=self.device)


def joined(methods: Sequence[Method], like: Tensor) -> Method:
    """One method with a number for each replica where the methods differ.

    Args:
        methods: One per replica, of one kind.
        like: A weight, whose precision and device the numbers take.

    Raises:
        TypeError: If there is something else among them, or several kinds.
        ValueError: If they differ in what cannot be a schedule.
    """
    for method in methods:
        if not isinstance(method, Method):
            raise TypeError(f"methods must be training methods, got {type(method).__name__}.")
    kinds = sorted({type(method).__name__ for method in methods})
    if len(kinds) > 1:
        raise TypeError(f"methods must be of one kind, got {', '.join(kinds)}: make replicas for each kind.")
    changes = {}
    for field in fields(methods[0]):
        values = tuple(getattr(method, field.name) for method in methods)
        if all(value == values[0] for value in values):
            continue
        if field.type != Schedule:
            raise ValueError(
                f"methods must be alike but for numbers that may follow a schedule, got different {field.name}: "
                "make replicas for each."
            )
        changes[field.name] = OfEach(values, like.dtype, like.device)
    return replace(methods[0], **changes)


@dataclass(frozen=True)
class ReplicaAround(Around):
    """Parameters with a replica axis, their optimiser, and chance.

    Attributes:
        seeds: Of what is drawn for each replica.
    """

    seeds: tuple[int, ...] = (0,)

    def momentum(self) -> ReplicaVector:
        """The optimiser's running mean of the gradients; empty before its first step."""
        return ReplicaVector(super().momentum().parts)

    def noise(self, per: Literal["model", "filter"]) -> ReplicaVector:
        """For each replica what a single network with its seed would be given."""
        turn = next(self._draws)
        drawn = [self._alone(i, seed, turn).noise(per).parts for i, seed in enumerate(self.seeds)]
        return ReplicaVector({name: torch.stack([own[name] for own in drawn]) for name in self.parameters})

    def some(self, share: float) -> frozenset[str]:
        """Names of parameters, the same for all replicas.

        Raises:
            NotImplementedError: If replicas have seeds of their own.
        """
        self._refuse_seeds()
        return super().some(share)

    def chance(self, share: float) -> bool:
        """True with chance ``share``, the same for all replicas.

        Raises:
            NotImplementedError: If replicas have seeds of their own.
        """
        self._refuse_seeds()
        return super().chance(share)

    def _alone(self, i: int, seed: int, turn: int) -> Around:
        own = {name: torch.nn.Parameter(w[i], requires_grad=False) for name, w in self.parameters.items()}
        return Around(own, call=self.call, seed=seed, _draws=count(turn))

    def _refuse_seeds(self) -> None:
        if len(set(self.seeds)) > 1:
            refuse("decides nothing by chance where each has a seed of its own", "give all the same seed")


@dataclass(frozen=True)
class ReplicaStep(Step):
    """One step of all replicas: of what a :class:`Step` offers, whole batches and no memory."""

    def objectives(self) -> NoReturn:
        """Refuse parts of the batch, losses of examples and losses of the method's own."""
        refuse("takes gradients of the whole loss")

    def recall(self, key: str) -> NoReturn:
        """Refuse memory."""
        refuse("remembers nothing")

    def recall_number(self, key: str) -> NoReturn:
        """Refuse memory."""
        refuse("remembers nothing")

    def remember(self, key: str, value: Vector | Tensor, degree: int = 1) -> NoReturn:
        """Refuse memory."""
        refuse("remembers nothing")

    def descend_afterwards(self, value: Vector) -> NoReturn:
        """Refuse a second descent."""
        refuse("leaves the step to the optimiser")


def refuse(what: str, remedy: str = "train each network by itself, method.bind(model)") -> NoReturn:
    """Say what a method must do to train replicas.

    Raises:
        NotImplementedError: Always.
    """
    raise NotImplementedError(f"Replicas must be trained by a method that {what}, got another: {remedy}.")
