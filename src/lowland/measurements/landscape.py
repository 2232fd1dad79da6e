"""Landscape: the loss on a line or a plane through the weights."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lowland.checks import one_of, whole
from lowland.measuring.batch_statistics import renewed_statistics
from lowland.measuring.checkpoint import buffers_on_the_way, direction_to
from lowland.measuring.displaced import displaced, weights
from lowland.measuring.filter_direction import filter_direction
from lowland.measuring.problem_measurement import ProblemMeasurement
from lowland.measuring.slope import mean_loss
from lowland.observe.ordinary import ordinary
from lowland.observe.reading import Reading
from lowland.operators.problem import Problem
from lowland.seeds import generator

__all__ = ["Landscape", "grid"]


@dataclass(frozen=True, kw_only=True)
class Landscape(ProblemMeasurement):
    r"""The mean loss at :math:`w + \alpha d_1 (+ \beta d_2)`, one reading for each point.

    Directions are random and filter-normalised (:func:`lowland.measuring.filter_direction.filter_direction`); with
    ``to`` the first leads from the weights (alpha 0) to those of another checkpoint (alpha 1), in full.
    :func:`grid` makes arrays of the readings.

    Cost:
        ``points ** dimensions`` forward passes, twice as many where batch statistics are renewed.

    References:
        Li, Xu, Taylor, Studer, Goldstein, Visualizing the loss landscape of neural nets, 2018.
    """

    dimensions: int = 1
    """1 or 2."""
    points: int = 11
    """Points on each axis, evenly spaced; odd numbers pass through the middle."""
    span: tuple[float, float] | None = None
    """Smallest and largest alpha and beta; None: (-1, 1), or (0, 1) for alpha on the way to a checkpoint."""
    to: Mapping[str, Tensor] | None = field(default=None, repr=False, compare=False)
    """Another checkpoint's state dict."""
    buffers: Literal["keep", "renew"] = "keep"
    """Batch norm's running statistics: as they are (on the way to a checkpoint those in between), or estimated at
    each point, as the mean over the data's batches."""
    seed: int = 0
    """Of the directions."""

    def __post_init__(self) -> None:
        whole("dimensions", self.dimensions)
        whole("points", self.points, low=2)
        whole("seed", self.seed, low=0)
        one_of("buffers", self.buffers, ["keep", "renew"])
        if self.dimensions > 2:
            raise ValueError(f"dimensions must be 1 or 2, got {self.dimensions}.")
        if self.span is not None and not self.span[0] < self.span[1]:
            raise ValueError(f"span must rise, got {self.span}.")

    @ordinary()
    def read(self, problem: Problem) -> list[Reading]:
        """The loss at each point, in rising order of beta, then alpha."""
        w, d = weights(problem), self._directions(problem)
        places = [{"alpha": alpha, "beta": beta} for beta, alpha in product(self._axis(1), self._axis(0))]
        losses = [self._loss(problem, w, d, **place) for place in places]
        settings = {**self.settings(), "examples": problem.batches.examples, "lengths": d.norm(dim=1).tolist()}
        return [
            Reading(name="landscape", value=loss, unit="loss", settings={**settings, **place})
            for place, loss in zip(places, losses, strict=True)
        ]

    def settings(self) -> dict[str, Any]:
        """The fields; of ``to`` only whether it was given."""
        return {**super().settings(), "to": None if self.to is None else "a checkpoint"}

    def _directions(self, problem: Problem) -> Tensor:
        draws = [generator(self.seed, "landscape", axis) for axis in range(self.dimensions)]
        if self.to is None:
            return torch.stack([filter_direction(problem, draw) for draw in draws])
        return torch.stack(
            [direction_to(problem, self.to), *(filter_direction(problem, draw) for draw in draws[1:])]
        )

    def _axis(self, number: int) -> list[float]:
        if number >= self.dimensions:
            return [0.0]
        usual = (0.0, 1.0) if self.to is not None and number == 0 else (-1.0, 1.0)
        return np.linspace(*(self.span or usual), self.points).tolist()

    def _loss(self, problem: Problem, w: Tensor, d: Tensor, alpha: float, beta: float) -> float:
        def here() -> float:
            with self._buffers(problem, alpha):
                return mean_loss(problem, problem.batches)

        return displaced(problem, w + torch.tensor([alpha, beta][: len(d)]).to(w) @ d, here)

    def _buffers(self, problem: Problem, alpha: float) -> AbstractContextManager[None]:
        if self.buffers == "renew":
            return renewed_statistics(problem)
        return nullcontext() if self.to is None else buffers_on_the_way(problem, self.to, alpha)


def grid(readings: Sequence[Reading]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The points of a landscape as arrays, as ``matplotlib.pyplot.contour`` takes them.

    Args:
        readings: Of one landscape on one split.

    Returns:
        Alphas (a,), betas (b,), and losses (b, a).

    Raises:
        ValueError: If the readings are not those of one landscape.
    """
    places = {(r.settings["beta"], r.settings["alpha"]): r.value for r in readings if r.name == "landscape"}
    betas, alphas = (sorted({place[i] for place in places}) for i in range(2))
    if not places or not len(readings) == len(places) == len(alphas) * len(betas):
        raise ValueError(f"readings must be those of one landscape on one split, got {len(readings)} readings.")
    losses = [[places[beta, alpha] for alpha in alphas] for beta in betas]
    return np.array(alphas), np.array(betas), np.array(losses)
