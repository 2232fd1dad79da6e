"""When and where checkpoints are written during training."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lowland.checks import at_least, whole
from lowland.train import checkpoint, streams
from lowland.train.epochs import Epochs
from lowland.train.hooks import Hook
from lowland.train.identity import difference, identity
from lowland.train.manifest import exists
from lowland.train.position import Position
from lowland.train.setup import Setup
from lowland.train.tally import Tally

__all__ = ["Keep", "Keeper"]


@dataclass(frozen=True, kw_only=True)
class Keep:
    """Where checkpoints go and how often; when they are written never changes what is trained.

    Attributes:
        folder: One checkpoint lives here, the latest; a run that finds one goes on from it.
        seconds: Least time between two checkpoints, >= 0; a killed process loses about this much.
        steps: Also write one every so many optimiser steps, >= 1; None does not.

    Raises:
        TypeError: If a number is of the wrong kind.
        ValueError: If a number is out of range.
    """

    folder: str | Path
    seconds: float = 60.0
    steps: int | None = None

    def __post_init__(self) -> None:
        at_least("seconds", self.seconds, 0)
        if self.steps is not None:
            whole("steps", self.steps)


class Run(Protocol):
    """What a training run consists of."""

    setup: Setup
    batches: Epochs
    hooks: Sequence[Hook]
    position: Position
    tally: Tally


class Keeper:
    """Writes a run's checkpoints, and brings a run back to where its checkpoint is.

    Args:
        keep: When and where; None keeps nothing.
        run: What is kept. One batch is drawn from its data, to know them again.
    """

    def __init__(self, keep: Keep | None, run: Run) -> None:
        self.keep, self._setup, self._position, self._tally = keep, run.setup, run.position, run.tally
        self._last = time.monotonic()
        self._identity = identity(run.setup, run.batches, run.hooks) if keep is not None else {}

    def due(self, now: float) -> bool:
        """Whether it is time for a checkpoint, after a step."""
        if self.keep is None:
            return False
        every = self.keep.steps
        return now - self._last >= self.keep.seconds or (every is not None and self._position.step % every == 0)

    def save(self) -> None:
        """Write a checkpoint of this moment, which must lie between two steps.

        Raises:
            OSError: If it cannot be written; the one before is still whole.
        """
        if self.keep is None:
            return
        position = self._position
        state = {
            "setup": self._setup.state_dict(),
            "tally": self._tally.state_dict(),
            "position": position.state_dict(),
            "streams": streams.remember(self._setup.device),
        }
        reached = {"epoch": position.epoch, "batch": position.batch, "step": position.step}
        about = {"reached": reached, "identity": self._identity}
        checkpoint.save(self.keep.folder, self._setup.model, state, about)
        self._last = time.monotonic()

    def resume(self) -> None:
        """Go to where the folder's checkpoint is, if it has one: model, parts, position and random streams.

        Raises:
            ValueError: If the checkpoint is damaged or of another run; nothing is changed then.
        """
        if self.keep is None or not exists(Path(self.keep.folder)):
            return
        found = checkpoint.read(self.keep.folder)
        found.refuse_another(self._setup.model)
        other = difference(found.about.get("identity", {}), self._identity)
        if other is not None:
            raise ValueError(
                f"The checkpoint in {found.folder} must be of this very training run, got one of another: "
                f"{other}. Train with the same settings to go on, or keep this run in another folder."
            )
        self._setup.load_state_dict(found.state["setup"])
        self._tally.load_state_dict(found.state["tally"])
        self._position.load_state_dict(found.state["position"])
        found.restore(self._setup.model)
        streams.restore(found.state["streams"], self._setup.device)
