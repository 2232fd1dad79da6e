"""Derivatives by central differences along the normalised vector: the last resort, and the check of the others."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lowland.operators.derivatives.pull import end, pull
from lowland.shield import Shield
from lowland.vector import norm

__all__ = ["FiniteDifference"]

Compute = Callable[[], Sequence[Tensor | None]]


class FiniteDifference:
    r"""Takes :math:`(f(w + h\hat v) - f(w - h\hat v))\,\lVert v\rVert / 2h` for the derivative of f along v.

    Where f jumps between the two points, as the gradient of a ReLU network does, so does the result. The step h is
    the cube root of the precision times the weights' norm. No graph is kept.

    Args:
        stretch: Factor on the step.
    """

    def __init__(self, stretch: float = 1.0) -> None:
        self.stretch = stretch

    def second(self, scalar: Callable[[], Tensor], parameters: Sequence[Tensor]) -> "_Second":
        """The second derivative of a scalar.

        Cost:
            Two gradients for each product, and a copy of the parameters within it.
        """
        return _Second(scalar, parameters, self.stretch)

    def first(self, outputs: Callable[[], Sequence[Tensor]], parameters: Sequence[Tensor]) -> "_Map":
        """The first derivative of some outputs.

        Cost:
            Two forward passes for ``J v``, a gradient for ``J' u``.
        """
        return _Map(outputs, parameters, self.stretch)


class _Second:
    def __init__(self, scalar: Callable[[], Tensor], parameters: Sequence[Tensor], stretch: float) -> None:
        self.scalar, self.parameters, self.stretch = scalar, parameters, stretch

    def times(self, v: Sequence[Tensor]) -> Sequence[Tensor | None]:
        return _difference(self._gradient, self.parameters, v, self.stretch)

    def _gradient(self) -> Sequence[Tensor | None]:
        return torch.autograd.grad(self.scalar(), self.parameters, allow_unused=True)


class _Map:
    def __init__(
        self, outputs: Callable[[], Sequence[Tensor]], parameters: Sequence[Tensor], stretch: float
    ) -> None:
        self.outputs, self.parameters, self.stretch = outputs, parameters, stretch
        with torch.no_grad():
            self.zeros = [torch.zeros_like(z) for z in outputs()]
        self.shapes = [tuple(z.shape) for z in self.zeros]

    def push(self, v: Sequence[Tensor]) -> list[Tensor]:
        with torch.no_grad():
            found = _difference(self.outputs, self.parameters, v, self.stretch)
        return [zero if part is None else part for part, zero in zip(found, self.zeros, strict=True)]

    def pull(self, u: Sequence[Tensor]) -> Sequence[Tensor | None]:
        return pull([end(z) for z in self.outputs()], u, self.parameters)


def _difference(
    f: Compute, parameters: Sequence[Tensor], v: Sequence[Tensor], stretch: float
) -> list[Tensor | None]:
    """The derivative of f along v; None where f is."""
    length = norm(list(v)).item()
    if length == 0:
        return [None if t is None else torch.zeros_like(t) for t in f()]
    size = max(norm([p.detach() for p in parameters]).item(), 1.0)
    step = stretch * torch.finfo(parameters[0].dtype).eps ** (1 / 3) * size
    ahead = _moved(f, parameters, v, step / length)
    behind = _moved(f, parameters, v, -step / length)
    pairs = zip(ahead, behind, strict=True)
    return [None if a is None or b is None else (a - b) * (length / (2 * step)) for a, b in pairs]


def _moved(f: Compute, parameters: Sequence[Tensor], v: Sequence[Tensor], factor: float) -> list[Tensor | None]:
    """What f is with the parameters moved by ``factor * v``; they come back bit for bit, on Ctrl-C too."""
    kept = [p.detach().clone() for p in parameters]
    with Shield() as shield:
        try:
            for p, part in zip(parameters, v, strict=True):
                p.data.add_(part, alpha=factor)  # not p.add_, which graphs that hold p would notice
            with shield.opened():
                return [None if t is None else t.detach().clone() for t in f()]  # it may be a view of a weight
        finally:
            for p, before in zip(parameters, kept, strict=True):
                p.data.copy_(before)
