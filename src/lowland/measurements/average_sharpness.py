"""Average sharpness: how much the loss rises on average when noise is added to the weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lowland.checks import one_of, whole
from lowland.measuring.normalised import scale_free
from lowland.measuring.problem_measurement import ProblemMeasurement
from lowland.measuring.radii import radii
from lowland.measuring.sampled import sampled
from lowland.measuring.surface import Surface
from lowland.observe.reading import Reading
from lowland.operators.problem import Problem
from lowland.seeds import generator

__all__ = ["AverageSharpness"]


@dataclass(frozen=True, kw_only=True)
class AverageSharpness(ProblemMeasurement):
    r"""Average-case sharpness :math:`\mathbb{E}_u L(w + \rho\, c \odot u) - L(w)`, with c = 1, or |w| if adaptive.

    For a quadratic loss with Hessian H and P parameters, and c = 1, it is

    * ``gaussian``, u normal with variance 1 in each entry: :math:`\rho^2 \operatorname{tr} H / 2`;
    * ``l2``, u uniform in the unit ball: :math:`\rho^2 \operatorname{tr} H / 2 (P + 2)`;
    * ``linf``, u uniform in the cube of side 2: :math:`\rho^2 \operatorname{tr} H / 6`.

    Every u is used with both signs, so that the gradient and all odd terms cancel; with one sign they would drown
    the curvature at small rho. All radii share the draws. In units of the loss; the standard error is over draws.

    Cost:
        ``1 + 2 * samples * radii`` forward passes, no gradient.

    References:
        Andriushchenko, Croce, Mueller, Hein, Flammarion, A modern look at the relationship between sharpness and
        generalization, 2023; the authors' code draws with one sign, from the normal distribution or the cube.
    """

    rho: float | tuple[float, ...] = 0.01
    """Size of the noise, >= 0, in units of the weights, or relative to each if adaptive; several give one reading
    each."""
    noise: Literal["gaussian", "l2", "linf"] = "gaussian"
    """Its distribution."""
    adaptive: bool = False
    """Whether the noise is in proportion to each weight's size."""
    normalise: bool = False
    """Whether class scores lose their mean and scale before the loss."""
    samples: int = 20
    """Draws, >= 2; each is used with both signs."""
    seed: int = 0
    """Of the draws."""

    def __post_init__(self) -> None:
        radii(self.rho)
        one_of("noise", self.noise, NOISES)
        whole("samples", self.samples, low=2)
        whole("seed", self.seed, low=0)

    def read(self, problem: Problem) -> list[Reading]:
        """One reading for each radius, in rising order."""
        surface = Surface(problem, value=scale_free(problem) if self.normalise else None)
        w, here = surface.w, surface.loss(surface.w)
        rises: dict[float, list[float]] = {rho: [] for rho in radii(self.rho)}
        for i in range(self.samples):
            u = NOISES[self.noise](len(w), generator(self.seed, "average_sharpness", i)).to(w)
            e = w.abs() * u if self.adaptive else u
            for rho, found in rises.items():
                found.append((surface.loss(w + rho * e) + surface.loss(w - rho * e)) / 2 - here)
        facts = {"examples": problem.batches.examples, "gradients": surface.gradients}
        return [self._reading(rho, found, facts) for rho, found in rises.items()]

    def _reading(self, rho: float, rises: Sequence[float], facts: dict[str, float]) -> Reading:
        value, stderr = sampled(rises)
        settings = {**self.settings(), "rho": rho, **facts}
        return Reading(name="average_sharpness", value=value, stderr=stderr, unit="loss", settings=settings)


def _normal(n: int, draw: torch.Generator) -> Tensor:
    return torch.randn(n, generator=draw, dtype=torch.float64)


def _in_ball(n: int, draw: torch.Generator) -> Tensor:
    z = _normal(n, draw)
    return z / z.norm() * torch.rand((), generator=draw, dtype=torch.float64) ** (1 / n)


def _in_cube(n: int, draw: torch.Generator) -> Tensor:
    return 2 * torch.rand(n, generator=draw, dtype=torch.float64) - 1


NOISES: dict[str, Callable[[int, torch.Generator], Tensor]] = {
    "gaussian": _normal,
    "l2": _in_ball,
    "linf": _in_cube,
}
"""A draw of length n of each distribution, in float64 on the CPU, so that it is the same everywhere."""
