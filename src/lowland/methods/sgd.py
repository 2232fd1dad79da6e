"""The plain gradient."""

from dataclasses import dataclass

from lowland.engine.method import Method
from lowland.engine.request import Direction
from lowland.engine.step import Step

__all__ = ["SGD"]


@dataclass(frozen=True, kw_only=True)
class SGD(Method):
    r"""The plain gradient, :math:`d = \nabla L(w)`: what every method's limit leads to.

    One pass. What the optimiser makes of it is the optimiser's: bound to AdamW, this is AdamW.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> loss = SGD().bind(model).backward(lambda: model(torch.ones(1, 2)).sum())
        >>> model.weight.grad
        tensor([[1., 1.]])
    """

    def direction(self, step: Step) -> Direction:
        """Ask for the gradient and hand it on."""
        return (yield step.gradient())
