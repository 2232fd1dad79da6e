"""What lies around a step: the perturbed parameters, the optimiser, and chance that a resumed run repeats."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lowland.seeds import derive
from lowland.vector import Total, Vector

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
        rank: Of the process, where processes perturb on their own; 0 where they perturb together.
        total: Sums a scalar over the processes that hold the other parts of the parameters.
    """

    parameters: Mapping[str, nn.Parameter]
    optimizer: Optimizer | None = None
    call: int = 0
    rank: int = 0
    total: Total | None = None
    _draws: Iterator[int] = field(default_factory=count)

    def learning_rate(self) -> float | Tensor:
        """That of the optimiser's first group.

        Raises:
            RuntimeError: If no optimiser was bound.
        """
        return self._bound("This schedule follows the learning rate").param_groups[0]["lr"]

    def momentum(self) -> Vector:
        """The optimiser's running mean of the gradients; empty before its first step.

        Raises:
            RuntimeError: If no optimiser was bound.
        """
        state = self._bound("This method perturbs along the optimiser's momentum").state
        held = {name: state[p] for name, p in self.parameters.items() if p in state}
        means = {name: own.get("momentum_buffer", own.get("exp_avg")) for name, own in held.items()}
        return Vector({name: mean for name, mean in means.items() if mean is not None}, self.total)

    def noise(self, per: Literal["model", "filter"]) -> Vector:
        """Independent normal numbers of standard deviation 1, or the norm of the weight's filter."""
        seed = derive(self.call, "noise", self.rank, next(self._draws))
        drawn = {name: _normal(p, derive(seed, name)) for name, p in self.parameters.items()}
        if per == "filter":
            drawn = {name: part * _filter_norms(self.parameters[name]) for name, part in drawn.items()}
        return Vector(drawn, self.total)

    def some(self, share: float) -> frozenset[str]:
        """Names of parameters, each drawn with chance ``share``; at least one."""
        draw = random.Random(derive(self.call, "some", self.rank, next(self._draws)))
        names = sorted(self.parameters)
        return frozenset(name for name in names if draw.random() < share) or frozenset([draw.choice(names)])

    def chance(self, share: float) -> bool:
        """True with chance ``share``, the same in all processes."""
        return random.Random(derive(self.call, "chance", next(self._draws))).random() < share

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
