"""SAM turned towards the top eigenvector of the Hessian."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from lowland.blocks.radius import check_radius
from lowland.checks import at_least, whole
from lowland.engine.method import Method
from lowland.engine.request import Direction
from lowland.engine.step import Schedule, Step
from lowland.vector import Vector

__all__ = ["EigenSAM"]


@dataclass(frozen=True, kw_only=True)
class EigenSAM(Method):
    r"""SAM turned towards the top curvature, :math:`e = \rho\, (\hat g \pm \alpha\, v_\perp)`.

    :math:`v` is the Hessian's top eigenvector, its sign that of its product with g, estimated every k steps by
    power iteration, and :math:`v_\perp` its part at right angles to the gradient;
    :math:`\lVert e \rVert = \rho \sqrt{1 + \alpha^2 \lVert v_\perp \rVert^2}`. Two passes, and one for each
    iteration on every k-th step; seven extra copies of the weights within a step and :math:`v`, one copy, between
    them.

    A Hessian product is here the difference of two gradients, :math:`(\nabla L(w + r v) - g) / r`: one pass, for
    any layer, in training mode. The authors differentiate twice, in evaluation mode, count k anew in every
    epoch, and until there is a :math:`v` perturb by :math:`\rho g` without normalising.

    Attributes:
        rho: Radius, >= 0; a number or a schedule.
        alpha: Weight of the eigenvector, >= 0.
        k: Steps from one estimate to the next, >= 1.
        iterations: Power iterations per estimate, >= 1.
        r: Distance of the difference, > 0, in the units of the weights.

    References:
        Luo, Truong, Pham, Harandi, Phung, Le, Explicit Eigenvalue Regularization Improves Sharpness-Aware
        Minimization, NeurIPS 2024, algorithm 1. https://arxiv.org/abs/2501.12666
    """

    rho: Schedule = 0.05
    alpha: float = 0.2
    k: int = 100
    iterations: int = 5
    r: float = 0.01

    PASSES: ClassVar = 2.05
    COPIES: ClassVar = 7
    KEEPS: ClassVar = 1
    REDUCES_TO: ClassVar = {"sgd": {"rho": 0.0}}

    def __post_init__(self) -> None:
        check_radius("rho", self.rho)
        at_least("alpha", self.alpha, 0)
        whole("k", self.k)
        whole("iterations", self.iterations)
        at_least("r", self.r, 1e-12)

    @property
    def passes(self) -> float:
        """2 + iterations / k."""
        return 2 + self.iterations / self.k

    def direction(self, step: Step) -> Direction:
        """Turn the ascent towards the eigenvector, and take the gradient found there."""
        g, v = (yield step.gradient()), step.recall("v")
        if v is None or step.turn % self.k == 0:
            v = _somewhere(v or Vector(), step.noise())
            for _ in range(self.iterations):
                beside = yield step.gradient(at=self.r * v)
                v = step.perturbed(beside - g).unit()
            step.remember("v", v, degree=0)
        unit = step.perturbed(g).unit()
        across = unit.dot(v).sign() * v.rejected_from(unit)
        return (yield step.gradient(at=step.radius(self.rho) * unit.plus(across, self.alpha)))


def _somewhere(v: Vector, noise: Vector) -> Vector:
    """The direction of ``v``, or that of ``noise`` where ``v`` is zero."""
    return v.plus(noise, torch.where(v.norm() > 0, 0.0, 1.0)).unit()
