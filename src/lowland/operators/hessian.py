"""The Hessian of the mean loss."""

from lowland.operators.batch import Batch
from lowland.operators.curvature import Curvature
from lowland.operators.derivatives.engine import Engine, Square
from lowland.operators.problem import Problem

__all__ = ["hessian"]


def hessian(problem: Problem) -> Curvature:
    r"""The matrix :math:`H = \nabla^2 L(w)`, which is :math:`G + N`, of :func:`gauss_newton` and :func:`nme`.

    Cost:
        A product takes 1.5 (dense layers) to 2.2 gradients (convolutions), after one gradient with its graph.

    Example:
        >>> import torch, lowland
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> data = torch.eye(2), torch.ones(2, 1)
        >>> H = lowland.hessian(lowland.problem(model, torch.nn.functional.mse_loss, data))
        >>> H @ torch.ones(2)
        tensor([1., 1.])
    """
    return Curvature("hessian", problem, _part)


def _part(problem: Problem, batch: Batch, engine: Engine) -> Square:
    return engine.second(lambda: problem.value(batch, problem.outputs(batch)), problem.weights)
