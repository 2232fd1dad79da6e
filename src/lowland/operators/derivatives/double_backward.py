"""Derivatives of derivatives by going backward twice, through graphs that are kept."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from lowland.operators.derivatives.nodes import nodes
from lowland.operators.derivatives.pull import End, end, pull
from lowland.operators.derivatives.quick import Quick

__all__ = ["DoubleBackward"]


class DoubleBackward:
    """Works nearly everywhere; see :class:`Engine`.

    Args:
        quick: Whether convolutions and batch norms may be replaced by :class:`Quick` ones; not where layers are
            checkpointed, as these are computed anew on the way back.
    """

    def __init__(self, *, quick: bool = True) -> None:
        self.quick = quick

    def second(self, scalar: Callable[[], Tensor], parameters: Sequence[Tensor]) -> "_Second":
        """The second derivative of a scalar.

        Cost:
            One gradient with its graph, which stays; 1.5 (dense layers) to 2.2 gradients for each product.
        """
        with Quick() if self.quick else nullcontext():
            value = scalar()
        return _Second(value, parameters)

    def first(self, outputs: Callable[[], Sequence[Tensor]], parameters: Sequence[Tensor]) -> "_Map":
        """The first derivative of some outputs.

        Cost:
            One gradient with its graph, which stays; two thirds of a gradient for each product from either side.
        """
        with Quick(linear=True) if self.quick else nullcontext():
            leaves = outputs()
        return _Map(leaves, parameters)


class _Second:
    def __init__(self, value: Tensor, parameters: Sequence[Tensor]) -> None:
        self.parameters = parameters
        gradients = torch.autograd.grad(value, parameters, create_graph=True, allow_unused=True)
        self.slopes = [end(g) for g in gradients]
        _refuse_cut(self.slopes)

    def times(self, v: Sequence[Tensor]) -> Sequence[Tensor | None]:
        return pull(self.slopes, v, self.parameters)


class _Map:
    """J' u is linear in u, and its derivative with respect to u, from behind, is J."""

    def __init__(self, leaves: Sequence[Tensor], parameters: Sequence[Tensor]) -> None:
        self.parameters = parameters
        self.shapes = [tuple(z.shape) for z in leaves]
        self.outputs = [end(z) for z in leaves]
        self.u = [torch.zeros_like(z, requires_grad=True) for z in leaves]
        self.pulled = [end(g) for g in pull(self.outputs, self.u, parameters, graph=True)]
        _refuse_cut(self.pulled)

    def push(self, v: Sequence[Tensor]) -> list[Tensor]:
        found = pull(self.pulled, v, self.u)
        return [torch.zeros_like(u) if part is None else part for part, u in zip(found, self.u, strict=True)]

    def pull(self, u: Sequence[Tensor]) -> Sequence[Tensor | None]:
        return pull(self.outputs, u, self.parameters)


def _refuse_cut(ends: Sequence[End]) -> None:
    """Refuse a graph that stops at an operation whose backward is ``once_differentiable``.

    PyTorch would pass over it without a word, because the way to the parameters ends there.

    Raises:
        RuntimeError: If there is such an operation.
    """
    last = [place.node for place in ends if place is not None]
    if any(node.name() == "torch::autograd::Error" for node in nodes(last)):
        raise RuntimeError("an operation's backward is marked once_differentiable")
