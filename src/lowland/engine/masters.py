"""float32 weights behind a model whose own are too coarse to be perturbed or trained."""

import warnings
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from lowland.types import State

__all__ = ["Masters", "warn_of_rounding"]

COARSE = (torch.bfloat16, torch.float16)


class Masters:
    """Keeps float32 weights for a model in bfloat16 or float16; the model holds them rounded.

    A bfloat16 number has eight binary digits: of a perturbation of length 0.05 on 100 million weights, 94 % of the
    entries are smaller than half the distance to the next number, and vanish. Here the perturbation, the method's
    arithmetic and the optimiser's update are in float32, and each entry of the model moves or stays as the sum
    rounds, so that over many weights the right share moves.

    Give ``masters.parameters()`` to the optimiser and the masters to ``bind``; gradients then are the masters'.

    Args:
        model: A module with parameters in bfloat16 or float16; others are their own masters.

    Raises:
        ValueError: If there is none in bfloat16 or float16.

    Cost:
        Two more copies of the model's weights in bytes, all the time.

    Example:
        >>> import lowland
        >>> model = nn.Linear(4, 1).bfloat16()
        >>> masters = lowland.Masters(model)
        >>> optimizer = torch.optim.SGD(masters.parameters(), lr=0.1)
        >>> sam = lowland.SAM().bind(model, optimizer=optimizer, masters=masters)
        >>> loss = sam.backward(lambda: model(torch.ones(2, 4).bfloat16()).square().mean())
        >>> optimizer.step()
    """

    def __init__(self, model: nn.Module) -> None:
        self._names = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._of = {id(p): nn.Parameter(p.detach().float()) for p in self._names.values() if p.dtype in COARSE}
        self._coarse = [p for p in self._names.values() if id(p) in self._of]
        if not self._coarse:
            raise ValueError("The model must have weights in bfloat16 or float16, got none: it needs no masters.")

    def parameters(self) -> list[nn.Parameter]:
        """What the optimiser is to train, in the order of the model's parameters."""
        return [self.of(p) for p in self._names.values()]

    def of(self, parameter: nn.Parameter) -> nn.Parameter:
        """The master of a model's parameter, or the parameter itself."""
        return self._of.get(id(parameter), parameter)

    @torch.no_grad()
    def push(self) -> None:
        """Round the masters into the model."""
        torch._foreach_copy_(*self._both())

    @torch.no_grad()
    def pull(self) -> None:
        """Take the model's weights for the masters, as after loading a checkpoint of the model alone."""
        coarse, fine = self._both()
        torch._foreach_copy_(fine, coarse)

    def _both(self) -> tuple[list[Tensor], list[Tensor]]:
        return [p.data for p in self._coarse], [self.of(p).data for p in self._coarse]

    def state_dict(self) -> State:
        """The float32 weights by the parameters' names."""
        return {name: self.of(p).detach().clone() for name, p in self._names.items() if id(p) in self._of}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where ``state_dict`` was taken; the model follows.

        Raises:
            ValueError: If the names are others.
        """
        own = self.state_dict()
        if own.keys() != state.keys():
            strangers = ", ".join(sorted(own.keys() ^ state.keys()))
            raise ValueError(f"The state must hold the model's coarse weights, got a difference in {strangers}.")
        for name, value in state.items():
            self.of(self._names[name]).data.copy_(value)
        self.push()


def warn_of_rounding(moved: Iterable[nn.Parameter]) -> None:
    """Say that perturbations of these parameters are lost in rounding, if they are."""
    coarse = [p for p in moved if p.dtype in COARSE and p.requires_grad]
    if coarse:
        warnings.warn(
            f"{len(coarse)} perturbed parameters are {coarse[0].dtype}: most of a perturbation is lost in "
            "rounding. Keep float32 weights under autocast, or bind(..., masters=lowland.Masters(model)).",
            stacklevel=4,
        )
