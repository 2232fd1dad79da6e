"""Sharpness: how much the loss rises at the worst place of a ball around the weights."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from lowland.checks import one_of, whole
from lowland.measuring.ascent import Peak, ascend
from lowland.measuring.ball import Ball
from lowland.measuring.groups import groups
from lowland.measuring.normalised import scale_free
from lowland.measuring.problem_measurement import ProblemMeasurement
from lowland.measuring.radii import radii
from lowland.measuring.sampled import sampled
from lowland.measuring.surface import Surface
from lowland.observe.reading import Reading
from lowland.operators.batch import Batch
from lowland.operators.problem import Problem
from lowland.seeds import generator

__all__ = ["Sharpness"]


@dataclass(frozen=True, kw_only=True)
class Sharpness(ProblemMeasurement):
    r"""Worst-case sharpness :math:`\max_{\|u\| \le \rho} L(w + c \odot u) - L(w)`, with c = 1, or |w| if adaptive.

    With ``m`` it is m-sharpness: the mean over consecutive groups of m examples, each with a ball of its own; the
    standard error is the spread over the groups. Without, one ball holds for the mean loss of all examples.

    The maximum is sought by projected ascent from the weights (or the best point of the next smaller rho) and from
    random points on the border, and the best point counts, so sharpness is at least 0 and never falls with rho.
    It is a lower bound of the maximum. ``gap`` in the settings is what the ball would still offer at that point
    to a loss that is linear there: near 0 where the ascent has arrived. All in units of the loss.

    Cost:
        ``1 + radii * (steps * (1 + restarts) + restarts)`` gradients; six vectors of the size of the parameters.

    References:
        Foret, Kleiner, Mobahi, Neyshabur, Sharpness-aware minimization, 2021 (m-sharpness); Andriushchenko, Croce,
        Mueller, Hein, Flammarion, A modern look at the relationship between sharpness and generalization, 2023
        (elementwise adaptive balls, normalised outputs).
    """

    rho: float | tuple[float, ...] = 0.05
    """Radius of the ball, >= 0, in units of the weights, or relative to each if adaptive; several give one reading
    each."""
    norm: Literal["l2", "linf"] = "l2"
    """The ball: all parameters' Euclidean norm, or their largest entry."""
    adaptive: bool = False
    """Whether the ball is measured relative to each weight's size; weights of zero then stay."""
    normalise: bool = False
    """Whether class scores lose their mean and scale before the loss."""
    m: int | None = None
    """Examples that share a ball; None: all."""
    steps: int = 20
    """Gradients of an ascent."""
    restarts: int = 1
    """Random points to start from as well, >= 0: without any, a stationary point of the loss is never left."""
    seed: int = 0
    """Of the random points."""

    def __post_init__(self) -> None:
        radii(self.rho)
        one_of("norm", self.norm, ["l2", "linf"])
        whole("steps", self.steps)
        whole("restarts", self.restarts, low=0)
        whole("seed", self.seed, low=0)
        if self.m is not None:
            whole("m", self.m)

    def read(self, problem: Problem) -> list[Reading]:
        """One reading for each radius, in rising order."""
        with problem.calm():
            balls = [list(self._tops(problem, group, i)) for i, group in enumerate(groups(problem, self.m))]
        facts = {
            "examples": self.m * len(balls) if self.m else problem.batches.examples,
            "balls": len(balls),
            "gradients": balls[0][-1].gradients,
        }
        return [self._reading(tops, facts) for tops in zip(*balls, strict=True)]

    def _tops(self, problem: Problem, examples: Iterable[Batch], number: int) -> Iterator["_Top"]:
        """The highest point of one ball, for each radius."""
        surface = Surface(problem, examples, scale_free(problem) if self.normalise else None)
        scale = surface.w.abs() if self.adaptive else torch.ones_like(surface.w)

        def slope(u: Tensor) -> tuple[float, Tensor]:
            loss, g = surface.slope(surface.w + scale * u)
            return loss, scale * g

        here = best = Peak.at(slope, torch.zeros_like(scale))
        for rho in radii(self.rho):
            ball = Ball(self.norm, rho)
            draws = [generator(self.seed, "sharpness", number, i) for i in range(self.restarts)]
            others = [Peak.at(slope, ball.random(len(scale), draw).to(scale)) for draw in draws]
            peaks = [ascend(slope, ball, start, self.steps) for start in (best, *others)]
            best = max(peaks, key=lambda peak: peak.value)
            yield _Top(rho, best.value - here.value, ball.gap(best.u, best.g), surface.gradients)

    def _reading(self, tops: Sequence["_Top"], facts: dict[str, Any]) -> Reading:
        value, stderr = sampled([top.rise for top in tops])
        more = {"rho": tops[0].rho, "gap": sampled([top.gap for top in tops])[0], **facts}
        settings = {**self.settings(), **more}
        return Reading(name="sharpness", value=value, stderr=stderr, unit="loss", settings=settings)


class _Top(NamedTuple):
    rho: float
    rise: float
    gap: float
    gradients: float
