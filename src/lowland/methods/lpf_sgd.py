"""Low-pass filtered gradient descent."""

from dataclasses import dataclass
from typing import ClassVar

from lowland.blocks.radius import check_radius
from lowland.checks import whole
from lowland.engine.method import Method
from lowland.engine.request import Direction
from lowland.engine.step import Schedule, Step
from lowland.vector import Vector

__all__ = ["LPFSGD"]


@dataclass(frozen=True, kw_only=True)
class LPFSGD(Method):
    r"""Descend the loss smoothed by a Gaussian, :math:`d = (1/M) \sum_i \nabla L_i(w + \tau_i)`.

    :math:`\tau_i \sim N(0, (\gamma \lVert f \rVert_2)^2)` for the weights of a filter :math:`f` of a
    convolution, and of the whole of any other tensor. The batch is cut into M parts :math:`L_i`, so that M draws
    cost no more than one. One pass, at perturbed weights only, so that loss and batch-norm statistics are those
    there; four extra copies of the weights within a step, no memory. M > 1 needs examples: pass a
    :func:`lowland.objective`.

    Attributes:
        gamma: Spread relative to the filter's norm, >= 0; a number or a schedule. The released code lets it grow
            by a factor of 15 to 35 from 0.0005: ``Cosine(0.0005, 0.0075, steps)``.
        samples: The number M of draws, >= 1; the authors use 1 to 8.

    References:
        Bisla, Wang, Choromanska, Low-Pass Filtering SGD for Recovering Flat Optima in the Deep Learning
        Optimization Landscape, AISTATS 2022, algorithm 1. https://arxiv.org/abs/2201.08025
    """

    gamma: Schedule = 0.0005
    samples: int = 1

    PASSES: ClassVar = 1
    COPIES: ClassVar = 4
    CLEAN: ClassVar = False
    REDUCES_TO: ClassVar = {"sgd": {"gamma": 0.0}}

    def __post_init__(self) -> None:
        check_radius("gamma", self.gamma)
        whole("samples", self.samples)

    def direction(self, step: Step) -> Direction:
        """Average the gradients of the batch's parts, each beside the weights in a direction of its own."""
        if self.samples == 1:
            return (yield step.gradient(at=step.radius(self.gamma) * step.noise(per="filter")))
        size = max(1, -(-max(map(len, step.objectives())) // self.samples))
        d = Vector()
        for shard in step.shards(size):
            h = yield step.gradient(at=step.radius(self.gamma) * step.noise(per="filter"), on=shard)
            d = d.plus(h, shard.share)
        return d
