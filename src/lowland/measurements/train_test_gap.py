"""Train-test gap: how much better a model does on what it was trained on."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch.nn.functional import cross_entropy

from lowland.observe.average import Average
from lowland.observe.class_scores import class_scores
from lowland.observe.measurement import Batch, Measurement
from lowland.observe.reading import Reading

__all__ = ["TrainTestGap"]


@dataclass(frozen=True, kw_only=True)
class TrainTestGap(Measurement):
    """Differences between two splits, both positive for a model that does better on the first.

    * ``accuracy_gap``: train accuracy - test accuracy;
    * ``loss_gap``: test loss - train loss, with the mean cross-entropy in nats.

    The standard error is the root of the two splits' squared standard errors, as for independent samples.
    Both splits are measured in eval mode; the running average of a training epoch is another number.

    Cost:
        Nothing beyond the two passes.
    """

    SPLITS: ClassVar[tuple[str, ...]] = ("train", "test")

    def start(self, splits: tuple[str, ...]) -> "_Tally":
        """A fresh tally for the two splits."""
        right, loss = ({split: Average() for split in splits} for _ in range(2))
        return _Tally(self, right, loss)


@dataclass
class _Tally:
    measurement: TrainTestGap
    right: dict[str, Average]
    loss: dict[str, Average]

    def update(self, batch: Batch) -> None:
        scores, labels = class_scores(batch, "TrainTestGap")
        self.right[batch.split].add(scores.argmax(1) == labels)
        self.loss[batch.split].add(cross_entropy(scores, labels, reduction="none"))

    def finish(self) -> list[Reading]:
        train_right, test_right = self.right.values()
        train_loss, test_loss = self.loss.values()
        return [
            self._gap("accuracy_gap", train_right, test_right, "fraction"),
            self._gap("loss_gap", test_loss, train_loss, "nats"),
        ]

    def _gap(self, name: str, more: Average, less: Average, unit: str) -> Reading:
        examples = [average.count for average in self.right.values()]
        return Reading(
            name=name,
            value=more.mean - less.mean,
            stderr=math.hypot(more.stderr, less.stderr),
            unit=unit,
            settings={**self.measurement.settings(), "examples": examples},
        )
