"""The Gauss-Newton matrix of the mean loss."""

from lowland.operators.batch import Batch
from lowland.operators.curvature import Curvature
from lowland.operators.derivatives.engine import Engine, Square
from lowland.operators.outputs import Outputs, refuse_inner_loss
from lowland.operators.problem import Problem
from lowland.operators.sandwich import Sandwich

__all__ = ["gauss_newton"]


def gauss_newton(problem: Problem) -> Curvature:
    r"""The matrix :math:`G = J^\top (\partial^2 L / \partial z^2)\, J`, J the Jacobian of the outputs z.

    Positive semi-definite for losses that are convex in the outputs.

    Raises:
        ValueError: If the loss is the model's own.

    Cost:
        A product takes 1.25 to 1.4 gradients, after one gradient with its graph.
    """
    refuse_inner_loss(problem)
    return Curvature("gauss_newton", problem, _part)


def _part(problem: Problem, batch: Batch, engine: Engine) -> Square:
    outputs = Outputs(problem, batch)
    return Sandwich(engine.first(outputs.leaves, problem.weights), outputs.curve())
