"""The loss as a function of the weights."""

from collections.abc import Iterable

from torch import Tensor

from lowland.measuring.displaced import displaced, weights
from lowland.measuring.slope import Value, mean_loss, slope
from lowland.operators.batch import Batch
from lowland.operators.problem import Problem

__all__ = ["Surface"]

FORWARD = 1 / 3
"""What a forward pass costs of a gradient."""


class Surface:
    """The mean of a loss over some examples, at any weights; nothing is left on the model.

    Args:
        problem: Whose model and parameters.
        batches: The examples; None: all of the problem's.
        value: The loss; None: the problem's.

    Attributes:
        w: The weights that the model has, of length P.
        gradients: What was computed so far, in gradients over these examples; a forward pass counts a third.
    """

    def __init__(
        self, problem: Problem, batches: Iterable[Batch] | None = None, value: Value | None = None
    ) -> None:
        self.problem, self.value = problem, value
        self.batches = problem.batches if batches is None else batches
        self.w = weights(problem)
        self.gradients = 0.0

    def loss(self, w: Tensor) -> float:
        """The loss at ``w``.

        Raises:
            ValueError: If it is not finite.
        """
        self.gradients += FORWARD
        return displaced(self.problem, w, lambda: mean_loss(self.problem, self.batches, self.value))

    def slope(self, w: Tensor) -> tuple[float, Tensor]:
        """The loss at ``w``, and its gradient, of length P.

        Raises:
            ValueError: If they are not finite.
        """
        self.gradients += 1
        return displaced(self.problem, w, lambda: slope(self.problem, self.batches, self.value))
