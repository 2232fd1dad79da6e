"""Accuracy of every class by itself: what an overall accuracy hides where classes are rare or hard."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lowland.observe.class_scores import class_scores
from lowland.observe.measurement import Batch, Measurement
from lowland.observe.reading import Reading

__all__ = ["ClassAccuracy"]


@dataclass(frozen=True, kw_only=True)
class ClassAccuracy(Measurement):
    r"""For every class k, the share of its examples with :math:`\arg\max_c z_c = k`; among equal scores the first.

    One reading for each class that occurs, with ``class`` in its settings. Its standard error is binomial,
    :math:`\sqrt{p (1 - p) / n}` over the n examples of the class. The mean over the classes is the balanced
    accuracy.

    Cost:
        Nothing beyond the pass; two numbers for each class.
    """

    def start(self, splits: tuple[str, ...]) -> "_Tally":
        """A fresh tally."""
        return _Tally(self)


@dataclass
class _Tally:
    measurement: ClassAccuracy
    counts: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def update(self, batch: Batch) -> None:
        scores, labels = class_scores(batch, "ClassAccuracy")
        right = labels[scores.argmax(1) == labels]
        k = scores.shape[1]
        self.counts.append((right.bincount(minlength=k), labels.bincount(minlength=k)))

    def finish(self) -> list[Reading]:
        right, seen = (torch.stack(each).sum(0).tolist() for each in zip(*self.counts, strict=True))
        return [self._reading(k, right[k], seen[k]) for k in range(len(seen)) if seen[k]]

    def _reading(self, k: int, right: int, seen: int) -> Reading:
        share = right / seen
        return Reading(
            name="class_accuracy",
            value=share,
            stderr=math.sqrt(share * (1 - share) / seen),
            unit="fraction",
            settings={**self.measurement.settings(), "class": k, "examples": seen},
        )
