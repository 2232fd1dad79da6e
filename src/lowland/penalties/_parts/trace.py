"""What penalties on the trace of a matrix of second derivatives share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lowland.checks import at_least, whole
from lowland.penalties._parts.bound import Bound
from lowland.penalties._parts.penalty import Penalty
from lowland.penalties._parts.trained import trained

__all__ = ["BoundTrace", "TracePenalty", "refuse_without_graph"]

T = TypeVar("T", bound="TracePenalty")


@dataclass(frozen=True, kw_only=True)
class TracePenalty(Penalty):
    """Base of loss terms that are half a variance times a trace, estimated.

    Attributes:
        sigma: Standard deviation of the weight noise that the term stands for, >= 0.
        samples: Random draws in each call, >= 1.
    """

    sigma: float = 0.01
    samples: int = 1

    OFF: ClassVar = {"sigma": 0.0}

    def __post_init__(self) -> None:
        at_least("sigma", self.sigma, 0)
        whole("samples", self.samples)


class BoundTrace(Bound[T]):
    """A trace penalty that knows the weights."""

    def __init__(self, penalty: T, model: nn.Module, optimizer: Optimizer) -> None:
        self._parameters = trained(model, optimizer)
        super().__init__(penalty, optimizer)

    def act(self, optimizer: Optimizer) -> None:
        """Nothing: the term is all there is."""

    @property
    def weights(self) -> list[nn.Parameter]:
        """What the trace is taken over: all that is trained, as it is now."""
        return [p for p in self._parameters.values() if p.requires_grad]

    def mean(self, draw: Callable[[], Tensor]) -> Tensor:
        """Half the variance times the mean of as many draws as there are to be."""
        drawn = torch.stack([draw() for _ in range(self.penalty.samples)])
        return self.penalty.sigma**2 / 2 * drawn.mean()


def refuse_without_graph(name: str, given: Tensor) -> None:
    """Refuse what cannot be differentiated.

    Raises:
        ValueError: If it cannot.
    """
    if not isinstance(given, Tensor) or not given.requires_grad:
        raise ValueError(f"{name} must be a tensor with its graph, got one without: call the term in the closure.")
