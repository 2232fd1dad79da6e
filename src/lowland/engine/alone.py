"""One process: what a step does about other processes, which is nothing."""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from lowland.engine.aliases import shared
from lowland.types import State
from lowland.vector import Total

__all__ = ["Alone", "Gradients"]

Gradients = Mapping[str, Tensor | None]
"""What ``.grad`` holds, by the parameter's name."""


class Alone:
    """Trains in one process; the base of what trains in several.

    A step computes with the process's own tensors: storage of parameters and vectors of the same shapes. Where
    parameters are spread over processes those are parts of whole ones.

    Attributes:
        rank: Of the process, among those that ascend by themselves; 0 where all ascend together.
        ranks: How many ascend by themselves, and so remember vectors of their own.
        total: Sums a scalar over the processes that hold other parts of the parameters; None if there are none.
        devices: Where passes compute, besides where the parameters are.
        reduced_bytes: Bytes of gradients that this process has given into reductions so far.
    """

    rank: int = 0
    ranks: int = 1
    total: Total | None = None
    devices: Collection[torch.device] = ()
    reduced_bytes: int = 0

    def ready(self) -> None:
        """Before a step: refuse what cannot be trained as it is now."""

    def enter(self) -> None:
        """Begin the passes of a step."""

    def leave(self, failed: bool) -> None:
        """End the passes of a step; if one failed, as if none had begun."""

    def known(self, parameters: Collection[nn.Parameter]) -> Collection[int]:
        """Addresses of the parameters that the loss of the next pass may depend on."""
        return {id(p) for p in parameters}

    def settle(self) -> None:
        """After a forward pass without a backward."""

    def gradients(self, trained: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
        """The process's own part of what a pass has left in ``.grad``."""
        return {name: p.grad for name, p in trained.items() if p.grad is not None}

    def shared(self, gradients: dict[str, Tensor], trained: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
        """The gradients of a pass, the mean over processes where they ascend together."""
        return gradients

    def combined(self, gradients: Gradients, trained: Mapping[str, nn.Parameter]) -> Gradients:
        """All that is accumulated, the mean over processes where they ascend by themselves."""
        return gradients

    def weights(self, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
        """What a perturbation moves, by name: parameters that may point elsewhere for a while, or their storage.

        Storage stays in its place where others look at it, as a cached view does, and on an accelerator, where
        they know its address: cuDNN that of flattened LSTMs, captured graphs that of everything.
        """
        here = all(p.is_cpu and not shared(p) for p in parameters.values())
        return {name: p if here else p.data for name, p in parameters.items()}

    def local(self, tensor: Tensor) -> Tensor:
        """The process's own storage of one parameter, or of a tensor of its kind."""
        return tensor

    def spread(self, parts: Mapping[str, Tensor], parameters: Mapping[str, nn.Parameter]) -> Mapping[str, Tensor]:
        """Own tensors as tensors of the parameters' kind, not copied."""
        return parts

    def cut(self, tensor: Tensor, parameter: Tensor) -> Tensor:
        """The process's own part of a whole tensor of the parameter's shape."""
        return tensor

    def whole(self, tensor: Tensor) -> Tensor:
        """What was computed from a parameter, whole."""
        return tensor

    def gathered(self, state: State) -> dict[str, State]:
        """The states of all processes that remember vectors of their own, by rank."""
        return {"0": state}
