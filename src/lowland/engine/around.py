"""What lies around a step: the perturbed parameters, the optimiser, and chance that a resumed run repeats."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lowland.engine.alone import Alone
from lowland.seeds import derive
from lowland.vector import Vector

__all__ = ["Around"]


@dataclass(frozen=True)
class Around:
    """What a step may know of the model and the optimiser.

    Chance is drawn from streams of its own, by the number of the call, so that it disturbs no dropout mask and
    needs no state: a resumed run draws the same.

    Attributes:
        parameters: Those that the method perturbs.
        optimizer: The bound one, or None.
        call: Calls of ``backward`` before this one.
        processes: Those that train together.
        seed: Of all that is drawn.
    """

    parameters: Mapping[str, nn.Parameter]
    optimizer: Optimizer | None = None
    call: int = 0
    processes: Alone = field(default_factory=Alone)
    seed: int = 0
    _draws: Iterator[int] = field(default_factory=count)

    def learning_rate(self) -> float | Tensor:
        """That of the optimiser's first group.

        Raises:
            RuntimeError: If no optimiser was bound.
        """
        return self._bound("This schedule follows the learning rate").param_groups[0]["lr"]

    def descends(self) -> None:
        """Refuse to descend after the optimiser's step where there is none.

        Raises:
            RuntimeError: If no optimiser was bound.
        """
        self._bound("This method also descends after the optimiser's step")

    def momentum(self) -> Vector:
        """The optimiser's running mean of the gradients; empty before its first step.

        Raises:
            RuntimeError: If no optimiser was bound.
            ValueError: If the optimiser keeps none.
        """
        optimizer = self._bound("This method perturbs along the optimiser's momentum")
        if not any(group.get("momentum") or group.get("betas") for group in optimizer.param_groups):
            raise ValueError(
                f"The optimiser must keep a momentum, got {type(optimizer).__name__} without: "
                "give SGD momentum=0.9, or take Adam."
            )
        held = {name: optimizer.state[p] for name, p in self.parameters.items() if p in optimizer.state}
        means = {name: own.get("momentum_buffer", own.get("exp_avg")) for name, own in held.items()}
        own = {name: self.processes.local(mean) for name, mean in means.items() if mean is not None}
        return Vector(own, self.processes.total)

    def noise(self, per: Literal["model", "filter"]) -> Vector:
        """Independent normal numbers of standard deviation 1, or the norm of the weight's filter."""
        seed = derive(self.seed, self.call, "noise", self.processes.rank, next(self._draws))
        drawn = {name: self._drawn(p, derive(seed, name), per) for name, p in self.parameters.items()}
        return Vector(drawn, self.processes.total)

    def some(self, share: float) -> frozenset[str]:
        """Names of parameters, each drawn with chance ``share``; at least one."""
        draw = random.Random(derive(self.seed, self.call, "some", self.processes.rank, next(self._draws)))
        names = sorted(self.parameters)
        if not names:
            return frozenset()
        return frozenset(name for name in names if draw.random() < share) or frozenset([draw.choice(names)])

    def chance(self, share: float) -> bool:
        """True with chance ``share``, the same in all processes."""
        return random.Random(derive(self.seed, self.call, "chance", next(self._draws))).random() < share

    def _drawn(self, p: Tensor, seed: int, per: Literal["model", "filter"]) -> Tensor:
        """The process's part of one parameter's noise: the same noise however many processes share it."""
        noise = _normal(p, seed)
        if per == "filter":
            noise = noise * self.processes.whole(_filter_norms(p))
        return self.processes.cut(noise, p)

    def _bound(self, why: str) -> Optimizer:
        if self.optimizer is None:
            raise RuntimeError(f"{why}: bind(model, optimizer=optimizer).")
        return self.optimizer


def _normal(p: Tensor, seed: int) -> Tensor:
    if p.is_meta:
        return torch.empty_like(p)
    draw = torch.Generator(p.device).manual_seed(seed)
    return torch.randn(p.shape, generator=draw, dtype=p.dtype, device=p.device)


def _filter_norms(w: Tensor) -> Tensor:
    """Of each filter of a convolution, of shape ``(out, 1, ...)``; of the whole of any other tensor."""
    if w.ndim < 3:
        return torch.linalg.vector_norm(w)
    return torch.linalg.vector_norm(w, dim=tuple(range(1, w.ndim)), keepdim=True)
