"""Accuracy: the share of examples whose class gets the highest score."""

from dataclasses import dataclass, field

from lowland.observe.average import Average
from lowland.observe.class_scores import class_scores
from lowland.observe.measurement import Batch, Measurement
from lowland.observe.reading import Reading

__all__ = ["Accuracy"]


@dataclass(frozen=True, kw_only=True)
class Accuracy(Measurement):
    r"""Share of examples with :math:`\arg\max_c z_c = y`; among equal scores the smallest class counts.

    Its standard error is binomial, :math:`\sqrt{p (1 - p) / n}`: the error of the model's accuracy on all
    data of which the n examples are a sample.

    Cost:
        Nothing beyond the pass.
    """

    def start(self, splits: tuple[str, ...]) -> "_Tally":
        """A fresh tally."""
        return _Tally(self)


@dataclass
class _Tally:
    measurement: Accuracy
    right: Average = field(default_factory=Average)

    def update(self, batch: Batch) -> None:
        scores, labels = class_scores(batch, "Accuracy")
        self.right.add(scores.argmax(1) == labels)

    def finish(self) -> list[Reading]:
        return [
            Reading(
                name="accuracy",
                value=self.right.mean,
                stderr=self.right.stderr,
                unit="fraction",
                settings={**self.measurement.settings(), "examples": self.right.count},
            )
        ]
