"""A penalty at work: it hears of an optimiser's steps, counts them, and can be taken off."""

from collections.abc import Mapping
from typing import Any, Generic, NoReturn, TypeVar

import torch
from torch.optim import Optimizer

from lowland.penalties._parts.hooks import Attach, after_steps
from lowland.penalties._parts.penalty import Penalty
from lowland.types import State

__all__ = ["Bound"]

P = TypeVar("P", bound=Penalty)


class Bound(Generic[P]):
    """A penalty at work, kept alive by the optimiser whose steps it follows.

    It acts inside ``optimizer.step()``: under accumulation once for all micro-batches, and not at all where a
    gradient scaler skips the step. It holds neither the optimiser nor anything that leads back to itself.

    Attributes:
        penalty: The frozen value that it was bound from.
        count: Steps of the optimiser so far.
    """

    def __init__(self, penalty: P, optimizer: Optimizer, attach: Attach = after_steps) -> None:
        self.penalty, self.count = penalty, 0
        self._handle = attach(optimizer, self._step)

    def act(self, optimizer: Optimizer) -> None:
        """Do what is due in this step; ``count`` is the number of steps before it."""
        raise NotImplementedError

    def remove(self) -> None:
        """Take it off the optimiser; what it holds stays readable. Safe to call again."""
        self._handle.remove()

    def state_dict(self) -> State:
        """All that a resumed run needs; loads with ``weights_only=True``."""
        return {"penalty": type(self.penalty).__name__, "count": self.count, **self.memory()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state_dict`` was taken.

        Raises:
            ValueError: If the state is another penalty's, or does not fit the model.
        """
        own = type(self.penalty).__name__
        if state.get("penalty") != own:
            raise ValueError(f"The state must be one of {own}, got one of {state.get('penalty')}.")
        lacking = self.state_dict().keys() - state.keys()
        if lacking:
            raise ValueError(f"The state must be whole, got one without {', '.join(sorted(lacking))}.")
        self.recall(state)
        self.count = int(state["count"])

    def memory(self) -> State:
        """What must be kept besides the count."""
        return {}

    def recall(self, state: Mapping[str, Any]) -> None:
        """Bring back what :meth:`memory` gave."""

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            f"A bound {type(self.penalty).__name__} cannot be copied or pickled, as a copied optimiser has no "
            "hooks: bind again, to the copy, and use state_dict."
        )

    @torch.no_grad()
    def _step(self, optimizer: Optimizer) -> None:
        self.act(optimizer)
        self.count += 1
