"""Running sums of an epoch's loss and accuracy, kept on the device."""

from typing import Any

import torch
from torch import Tensor

from lowland.types import State

__all__ = ["Tally"]

CHUNK = 100
"""Steps whose losses are summed at one go."""

HELD = 2**18
"""Class scores that wait, at most, to be judged at one go."""


class Tally:
    """Sums the loss and the right answers of a training epoch; only reading them waits for the device.

    Losses are summed in chunks of fixed length, in float64 where the device has it, so that neither looking
    nor a checkpoint changes the sum by a bit. A value that is not finite stays visible to the end.

    Attributes:
        steps: How many were added.
        passes: Forward-backward passes over their data that they took, summed over the steps.

    Cost:
        Some microseconds a step: the device's work is put off and done for many steps together.
    """

    def __init__(self, device: torch.device) -> None:
        wide = torch.float32 if device.type == "mps" else torch.float64
        self._sum = torch.zeros((), dtype=wide, device=device)
        self._right = torch.zeros((), dtype=torch.int64, device=device)
        self.clear()

    def clear(self) -> None:
        """Begin a new epoch."""
        self._sum.zero_()
        self._right.zero_()
        self._losses: list[Tensor] = []
        self._sizes: list[int] = []
        self._scores: list[Tensor] = []
        self._targets: list[Tensor] = []
        self._examples = self._answers = self._held = self.steps = 0
        self.passes = 0.0

    def add(self, loss: Tensor, examples: int, passes: float) -> None:
        """Count a step.

        Args:
            loss: Mean loss of its examples, a scalar, detached.
            examples: How many they are.
            passes: Forward-backward passes over them.
        """
        self.steps += 1
        self.passes += passes
        self._examples += examples
        self._losses.append(loss)
        self._sizes.append(examples)
        if len(self._losses) == CHUNK:
            self._sum.add_(self._pending())
            self._losses, self._sizes = [], []

    def judge(self, outputs: Any, y: Tensor) -> None:  # noqa: ANN401 - whatever the model gives
        """Count right answers.

        Args:
            outputs: The model's outputs, detached: class scores ``(n, k, ...)``; others are not judged.
            y: Targets, class numbers of shape ``(n, ...)``.
        """
        if not _are_scores(outputs, y):
            return
        self._answers += y.numel()
        self._held += outputs.numel()
        self._scores.append(outputs)
        self._targets.append(y)
        if self._held > HELD or outputs.ndim > 2:
            self._settle()

    @property
    def finite(self) -> bool:
        """Whether every loss so far was finite; waits for the device."""
        return bool(torch.isfinite(self._total()))

    @property
    def loss(self) -> float | None:
        """Mean over the examples; None if not finite or none was counted. Waits for the device."""
        return self._total().item() / self._examples if self._examples and self.finite else None

    @property
    def accuracy(self) -> float | None:
        """Share of right answers, in [0, 1]; None if none could be judged. Waits for the device."""
        self._settle()
        return self._right.item() / self._answers if self._answers else None

    def state_dict(self) -> State:
        """The sums, for a checkpoint."""
        self._settle()
        return {
            "sum": self._sum.clone(),
            "right": self._right.clone(),
            "losses": torch.stack(self._losses) if self._losses else None,
            "sizes": list(self._sizes),
            "counts": [self._examples, self._answers, self.steps],
            "passes": self.passes,
        }

    def load_state_dict(self, state: State) -> None:
        """Take over the sums of a checkpoint."""
        self.clear()
        self._sum.copy_(state["sum"])
        self._right.copy_(state["right"])
        if state["losses"] is not None:
            self._losses = list(state["losses"].to(self._sum.device))
        self._sizes, self.passes = list(state["sizes"]), state["passes"]
        self._examples, self._answers, self.steps = state["counts"]

    def _total(self) -> Tensor:
        return self._sum + self._pending() if self._losses else self._sum

    def _pending(self) -> Tensor:
        weighted = torch._foreach_mul(self._losses, [float(size) for size in self._sizes])
        return torch.stack(weighted).to(self._sum.dtype).sum()

    def _settle(self) -> None:
        if not self._scores:
            return
        one = len(self._scores) == 1
        scores, targets = [group[0] if one else torch.cat(group) for group in (self._scores, self._targets)]
        self._right.add_((scores.argmax(1) == targets).count_nonzero())
        self._scores, self._targets, self._held = [], [], 0


def _are_scores(outputs: Any, y: Tensor) -> bool:  # noqa: ANN401
    if not isinstance(outputs, Tensor) or outputs.ndim < 2 or y.is_floating_point():
        return False
    return y.shape == outputs.shape[:1] + outputs.shape[2:]
