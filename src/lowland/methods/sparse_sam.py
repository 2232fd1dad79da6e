"""SAM that perturbs the weights that matter most."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from lowland.blocks.radius import check_radius
from lowland.checks import fraction, whole
from lowland.engine.method import Method
from lowland.engine.objective import Examples
from lowland.engine.request import Direction
from lowland.engine.step import Schedule, Step
from lowland.vector import Vector, ratio

__all__ = ["SparseSAM"]


@dataclass(frozen=True, kw_only=True)
class SparseSAM(Method):
    r"""SAM on a mask of the weights that matter most, :math:`e = \rho\, m \odot g / \lVert g \rVert_2`.

    The Fisher value of a weight is the sum of its squared gradients on single examples; the mask keeps the share
    :math:`1 - s` with the largest, over the whole model, and is renewed every k steps. The norm is that of the
    whole gradient, so the perturbation is shorter than :math:`\rho`. Two passes, and on every k-th step one for
    each of ``samples`` examples; five extra copies of the weights within a step and the mask, one copy, between
    them. Sparsity does not save time. Needs examples: pass a :func:`lowland.objective`.

    SSAM-F with the examples of the batch at hand, each seen among the others; the released code draws them from
    the training set and passes them one by one in train mode, so that batch norm sees batches of one.

    Attributes:
        rho: Radius, >= 0; a number or a schedule. The authors use 0.1 (CIFAR-10), 0.2 (CIFAR-100), 0.07
            (ImageNet).
        s: Share of the weights that stay, in [0, 1).
        k: Steps from one mask to the next, >= 1.
        samples: Examples that a mask is judged by, >= 1; at most the batch.

    References:
        Mi, Shen, Ren, Zhou, Sun, Ji, Tao, Make Sharpness-Aware Minimization Stronger: A Sparsified Perturbation
        Approach, NeurIPS 2022, algorithm 1. https://arxiv.org/abs/2210.05177
    """

    rho: Schedule = 0.1
    s: float = 0.5
    k: int = 100
    samples: int = 8

    PASSES: ClassVar = 2.08
    COPIES: ClassVar = 5
    KEEPS: ClassVar = 1
    SHARDED: ClassVar = False  # the quantile is over the whole model
    REDUCES_TO: ClassVar = {"sgd": {"rho": 0.0}}

    def __post_init__(self) -> None:
        check_radius("rho", self.rho)
        fraction("s", self.s, one=False)
        whole("k", self.k)
        whole("samples", self.samples)

    @property
    def passes(self) -> float:
        """2 + samples / k, if the batch holds as many."""
        return 2 + self.samples / self.k

    def direction(self, step: Step) -> Direction:
        """Ascend within the mask, and take the gradient found there."""
        batch = next(step.shards())
        g, mask = (yield step.gradient()), step.recall("mask")
        if mask is None or step.turn % self.k == 0:
            scores = Vector()
            for i in range(min(self.samples, batch.stop)):
                own = step.unscaled((yield step.gradient(on=batch, loss=partial(_loss_of_one, i))))
                scores = scores + own * own
            mask = _largest(step.perturbed(scores), self.s)
            step.remember("mask", mask, degree=0)
        e = ratio(step.radius(self.rho), step.perturbed(g).norm()) * (mask * g)
        return (yield step.gradient(at=e, spend=e))


def _loss_of_one(i: int, examples: Examples) -> Tensor:
    return examples.losses[i]


def _largest(scores: Vector, sparsity: float) -> Vector:
    """1 for all but the share ``sparsity`` of entries with the smallest scores, else 0; nan where a score is."""
    if not scores.parts:
        return scores
    sizes = [part.numel() for part in scores.parts.values()]
    flat = torch.cat([part.reshape(-1) for part in scores.parts.values()])
    kept = flat.topk(len(flat) - int(sparsity * len(flat)), sorted=False).indices
    marks = (0.0 * flat).index_fill_(0, kept, 1.0).split(sizes)
    parts = zip(scores.parts.items(), marks, strict=True)
    return Vector({name: mark.view_as(part) for (name, part), mark in parts}, scores.total)
