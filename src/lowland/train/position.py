"""Where a training run is, and what it has to show so far."""

from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from lowland.types import State

__all__ = ["Position"]


@dataclass
class Position:
    """Where a training run is: everything on the host that changes with a step.

    Attributes:
        epoch: Which epoch, from 0.
        batch: Batches of the epoch that are done.
        step: Optimiser steps that are done, in all epochs.
        rate: Learning rate of the last step.
        elapsed: Seconds spent training in this epoch.
        rows: What the finished epochs had to show.
        seconds: How long they took.
        stopped: Whether training has ended before its last epoch, because it diverged.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    rate: float | Tensor = 0.0
    elapsed: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    stopped: bool = False

    def next_epoch(self, row: dict[str, Any]) -> None:
        """Close the epoch with its row."""
        self.rows.append(row)
        self.seconds.append(self.elapsed)
        self.epoch, self.batch, self.elapsed = self.epoch + 1, 0, 0.0
        self.stopped = row["diverged"]

    def state_dict(self) -> State:
        """All of it, for a checkpoint."""
        return asdict(self)

    def load_state_dict(self, state: State) -> None:
        """Be where the checkpoint was."""
        for name, value in state.items():
            setattr(self, name, value)
