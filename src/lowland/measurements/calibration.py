"""Calibration: whether predicted probabilities mean what they say."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from lowland.checks import whole
from lowland.observe.average import Average
from lowland.observe.class_scores import class_scores
from lowland.observe.measurement import Batch, Measurement
from lowland.observe.reading import Reading

__all__ = ["Calibration"]


@dataclass(frozen=True, kw_only=True)
class Calibration(Measurement):
    r"""Three scores of the softmax probabilities p; smaller is better.

    * ``ece``: expected calibration error :math:`\sum_b \frac{n_b}{n} |\mathrm{acc}_b - \mathrm{conf}_b|` over
      equal bins (l, r] of the confidence :math:`\max_c p_c`, in [0, 1];
    * ``nll``: mean negative log-likelihood :math:`-\ln p_y` (the cross-entropy loss), in nats;
    * ``brier``: mean :math:`\sum_c (p_c - [c = y])^2`, in [0, 2].

    ``nll`` and ``brier`` have the standard error of a mean. The one of ``ece`` is first order: the signs of the
    bins' gaps are taken as known, which holds when the gaps are larger than their own errors; with few examples
    per bin ``ece`` itself is too large.

    Cost:
        Nothing beyond the pass.

    References:
        Guo, Pleiss, Sun, Weinberger, On calibration of modern neural networks, 2017, equation (3).
        Brier, Verification of forecasts expressed in terms of probability, 1950.
    """

    bins: int = 15
    """Number of bins of the confidence, all of one width."""

    def __post_init__(self) -> None:
        whole("bins", self.bins)

    def start(self, splits: tuple[str, ...]) -> "_Tally":
        """A fresh tally."""
        return _Tally(self, [Average() for _ in range(self.bins)])


@dataclass
class _Tally:
    measurement: Calibration
    gaps: list[Average]
    """Confidence minus correctness, by bin."""
    nll: Average = field(default_factory=Average)
    brier: Average = field(default_factory=Average)

    def update(self, batch: Batch) -> None:
        scores, labels = class_scores(batch, "Calibration")
        log_p = scores.log_softmax(1)
        p = log_p.exp()
        self.nll.add(-log_p.gather(1, labels[:, None])[:, 0])
        self.brier.add((p - one_hot(labels, p.shape[1])).square().sum(1))
        self._add_gaps(p, labels)

    def _add_gaps(self, p: Tensor, labels: Tensor) -> None:
        confidence, predicted = p.max(1)
        gap = confidence - (predicted == labels).double()
        index = (confidence * len(self.gaps)).ceil().long().clamp(1, len(self.gaps)) - 1
        for i in torch.unique(index).tolist():
            self.gaps[i].add(gap[index == i])

    def finish(self) -> list[Reading]:
        value, stderr = self._expected_error()
        return [
            self._reading("ece", value, stderr, "fraction"),
            self._reading("nll", self.nll.mean, self.nll.stderr, "nats"),
            self._reading("brier", self.brier.mean, self.brier.stderr, ""),
        ]

    def _expected_error(self) -> tuple[float, float]:
        filled = [gap for gap in self.gaps if gap.count]
        n = self.nll.count
        value = math.fsum(abs(gap.mean) * gap.count for gap in filled) / n
        squares = math.fsum((gap.stderr**2 * gap.count + gap.mean**2) * gap.count for gap in filled) / n
        return value, math.sqrt(max(squares - value**2, 0.0) / n)

    def _reading(self, name: str, value: float, stderr: float, unit: str) -> Reading:
        settings = {**self.measurement.settings(), "examples": self.nll.count}
        return Reading(name=name, value=value, stderr=stderr, unit=unit, settings=settings)
