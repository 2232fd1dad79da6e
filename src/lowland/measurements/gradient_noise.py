"""Gradient noise: how much the gradients of examples differ from their mean."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lowland.checks import whole
from lowland.measuring.group_gradients import group_gradients
from lowland.measuring.problem_measurement import ProblemMeasurement
from lowland.observe.reading import Reading
from lowland.operators.problem import Problem

__all__ = ["GradientNoise"]

FEWEST = 3
"""Groups without which nothing is known about their spread."""


@dataclass(frozen=True, kw_only=True)
class GradientNoise(ProblemMeasurement):
    r"""Spread of the gradients :math:`g_i` of n examples around their mean g, and the batch size it calls for.

    * ``gradient_norm``: :math:`\|g\|`;
    * ``gradient_noise``: :math:`\Gamma = \frac{1}{n} \sum_i \|g_i - g\|^2`;
    * ``noise_scale``: :math:`\operatorname{tr} \Sigma / |G|^2` in examples, with the covariance :math:`\Sigma`
      and the mean G of gradients in the population that the examples are a sample of. At that batch size noise
      and signal are equally large. No reading where the estimate of :math:`|G|^2` is not above 0, if only
      without one of the groups.

    Both come from two batch sizes: the n examples, and J groups of ``m`` = n / J. With the mean A of a group's
    :math:`\|g_j\|^2`, and :math:`v = (A - \|g\|^2) / (J - 1)`, the estimates without bias are n v of
    :math:`\operatorname{tr} \Sigma`, (n - 1) v of :math:`\Gamma` (exact for m = 1) and :math:`\|g\|^2 - v` of
    :math:`|G|^2`. Standard errors are the jackknife's over groups.

    Cost:
        Two gradients, example by example for m = 1, in one call for many where ``torch.func.vmap`` can.

    Limits:
        Groups are of consecutive examples, which must come in random order for m > 1.

    References:
        McCandlish, Kaplan, Amodei, An empirical model of large-batch training, 2018, for the noise scale; Smith,
        Dherin, Barrett, De, On the origin of implicit regularization in stochastic gradient descent, 2021, for
        what the noise does.
    """

    m: int = 1
    """Examples in a group."""

    def __post_init__(self) -> None:
        whole("m", self.m)

    def read(self, problem: Problem) -> list[Reading]:
        """``gradient_norm``, ``gradient_noise`` and, where it can be told, ``noise_scale``.

        Raises:
            ValueError: If there are fewer than three groups.
        """
        with problem.calm():
            total, squares = 0, []
            for block in group_gradients(problem, self.m):
                total, squares = total + block.sum(0), [*squares, block.square().sum(1)]
            a = torch.cat(squares).double()
            if len(a) < FEWEST:
                raise ValueError(
                    f"m must leave {FEWEST} groups of examples or more, got {self.m}, which leaves {len(a)}."
                )
            g = total / len(a)
            c = torch.cat([block @ g for block in group_gradients(problem, self.m)]).double()
        return self._readings(a, c)

    def _readings(self, a: Tensor, c: Tensor) -> list[Reading]:
        """From each group's ``a = g_j . g_j`` and ``c = g_j . g``."""
        J, A, B = len(a), a.mean(), c.mean()
        noise, trace, signal = _estimates(self.m, J, A, B)
        without = (J * A - a) / (J - 1), (J**2 * B - 2 * J * c + a) / (J - 1) ** 2  # A and B of all but one group
        noises, traces, signals = _estimates(self.m, J - 1, *without)
        found = [("gradient_norm", B.sqrt(), None, "loss/weight")]
        found += [("gradient_noise", noise, _jackknife(noises), "(loss/weight)^2")]
        if min(signal, signals.min()) > 0:
            found += [("noise_scale", trace / signal, _jackknife(traces / signals), "examples")]
        settings = {**self.settings(), "examples": self.m * J}
        return [
            Reading(name=name, value=value.item(), stderr=stderr, unit=unit, settings=settings)
            for name, value, stderr, unit in found
        ]


def _estimates(m: int, J: int, A: Tensor, B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gamma, the trace of Sigma and the square of G, from J groups with mean square A and squared mean B."""
    share = (A - B) / (J - 1)  # the trace, over n
    return share * (m * J - 1), share * m * J, B - share


def _jackknife(without: Tensor) -> float:
    """The standard error, from the estimates without each of the groups."""
    return math.sqrt((len(without) - 1) * without.var(correction=0).item())
