"""What a training run was like, epoch by epoch."""

from dataclasses import dataclass
from typing import Any

__all__ = ["History"]


@dataclass(frozen=True, kw_only=True)
class History:
    """The rows of a training run, one per epoch, and the time they took.

    A row holds ``epoch`` (from 1), ``step`` (optimiser steps so far), ``loss`` (mean over the epoch's
    examples as they were trained on; None if not finite), ``accuracy`` (likewise, in [0, 1]; None where
    outputs are not class scores), ``learning_rate`` (of the epoch's last step), ``passes`` (forward-backward
    passes over a step's data, mean over the steps), ``diverged``, and what the hooks added. Rows are
    bit-reproducible; seconds are not, so they are kept apart.

    Attributes:
        rows: One mapping per epoch, each one line of JSON.
        seconds: Time spent training in each epoch, without hooks and checkpoints.
    """

    rows: tuple[dict[str, Any], ...] = ()
    seconds: tuple[float, ...] = ()

    @property
    def diverged(self) -> bool:
        """Whether training stopped because the loss or the weights were no longer finite."""
        return bool(self.rows) and self.rows[-1]["diverged"]

    @property
    def last(self) -> dict[str, Any]:
        """The last epoch's row.

        Raises:
            LookupError: If there is no row.
        """
        if not self.rows:
            raise LookupError("This history has no rows: nothing was trained.")
        return self.rows[-1]

    def column(self, name: str) -> list[Any]:
        """One quantity over the epochs; None where a row does not have it.

        Example:
            >>> History(rows=({"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25})).column("loss")
            [0.5, 0.25]
        """
        return [row.get(name) for row in self.rows]
