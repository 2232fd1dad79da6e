"""The nonlinear modelling error: what the Hessian has beyond the Gauss-Newton matrix."""

import torch
from torch import Tensor

from lowland.operators.batch import Batch
from lowland.operators.curvature import Curvature
from lowland.operators.derivatives.engine import Engine, Square
from lowland.operators.outputs import Outputs, refuse_inner_loss
from lowland.operators.problem import Problem

__all__ = ["nme"]


def nme(problem: Problem) -> Curvature:
    r"""The matrix :math:`N = \sum_j (\partial L / \partial z_j)\, \nabla^2 z_j(w)`, with outputs :math:`z`.

    Computed directly, as the Hessian of :math:`\langle u, z(w) \rangle` with :math:`u = \partial L / \partial z`
    held fixed: no cancellation, and no dearer than a product with the Hessian. It vanishes where the outputs'
    residuals do, and for models that are linear in their parameters.

    Raises:
        ValueError: If the loss is the model's own.

    References:
        Dauphin, Agarwala, Mobahi, Neglected Hessian component explains mysteries in sharpness regularization,
        2024. https://arxiv.org/abs/2401.10809
    """
    refuse_inner_loss(problem)
    return Curvature("nme", problem, _part)


def _part(problem: Problem, batch: Batch, engine: Engine) -> Square:
    outputs = Outputs(problem, batch)
    with torch.no_grad():
        outputs.leaves()
    slopes = outputs.slopes()

    def scalar() -> Tensor:
        pairs = zip(slopes, outputs.leaves(), strict=True)
        return torch.stack([(u * z).sum() for u, z in pairs if u is not None]).sum()

    return engine.second(scalar, problem.weights)
