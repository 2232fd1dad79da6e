"""The slope of a loss along a vector: its gradient is the product of a matrix with the vector."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from lowland.engine.objective import Objective
from lowland.engine.request import Request
from lowland.types import Closure

__all__ = ["slope"]


def slope(loss: Tensor, closure: Closure, request: Request, parameters: Mapping[str, Tensor]) -> Tensor:
    r"""What to differentiate for the product that is asked for, with the vector v held fixed.

    For the Hessian it is :math:`\langle \nabla L(w), v \rangle`; for the Gauss-Newton matrix
    :math:`\langle \nabla_z L(z(w)), u \rangle`, with outputs z and their change :math:`u = J v` held fixed.

    Args:
        loss: With its graph.
        closure: What computed it, an objective for the Gauss-Newton matrix.
        request: Asks for a product.
        parameters: What the loss depends on, by name.

    Returns:
        A scalar; without a graph where the product is zero.
    """
    assert request.along is not None
    pairs = [(parameters[name], v) for name, v in request.along.parts.items() if name in parameters]
    w, v = [p for p, _ in pairs], [part.to(p.dtype) for p, part in pairs]
    if request.matrix == "hessian":
        return _inner(_gradient(loss, w), v, loss)
    assert isinstance(closure, Objective)  # or the step would not have made the request
    z = [leaf for leaf in pytree.tree_leaves(closure.latest) if isinstance(leaf, Tensor) and leaf.requires_grad]
    return _inner(_gradient(loss, z), _pushed(z, w, v), loss)


def _gradient(value: Tensor, inputs: Sequence[Tensor]) -> Sequence[Tensor | None]:
    return torch.autograd.grad(value, inputs, create_graph=True, allow_unused=True) if inputs else []


def _pushed(z: Sequence[Tensor], w: Sequence[Tensor], v: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """The change of z where w changes by v: the derivative of J' s with respect to s."""
    s = [torch.zeros_like(leaf, requires_grad=True) for leaf in z]
    pulled = torch.autograd.grad(z, w, s, create_graph=True, allow_unused=True) if w else []
    pairs = [(g, part) for g, part in zip(pulled, v, strict=True) if g is not None]
    if not pairs:
        return [None] * len(z)
    ends, seeds = zip(*pairs, strict=True)
    return torch.autograd.grad(ends, s, seeds, retain_graph=True, allow_unused=True)


def _inner(slopes: Sequence[Tensor | None], v: Sequence[Tensor | None], loss: Tensor) -> Tensor:
    pairs = zip(slopes, v, strict=True)
    terms = [(g * part).sum().to(loss) for g, part in pairs if g is not None and part is not None]
    return torch.stack(terms).sum() if terms else torch.zeros_like(loss).detach()
