"""A function with a value, a first and a second derivative of one's own choice."""

from collections.abc import Callable

from torch import Tensor

__all__ = ["taylor"]

Pointwise = Callable[[Tensor], Tensor]


def taylor(x: Tensor, value: Pointwise, slope: Pointwise, bend: Pointwise | None = None) -> Tensor:
    r"""The parabola :math:`f(x_0) + s(x_0)(x - x_0) + \tfrac12 b(x_0)(x - x_0)^2`, at :math:`x_0 = x` held fixed.

    So what comes out is f, its derivative is s, its second derivative is b, and its third is 0, whether b is the
    derivative of s, and s that of f, or not. Exact, bit for bit, where x, s and b are finite.

    Args:
        x: Any shape.
        value: f.
        slope: s, finite.
        bend: b, finite; None is 0 everywhere.

    Returns:
        f(x), of the same shape.

    Example:
        >>> import torch
        >>> x = torch.tensor(3.0, requires_grad=True)
        >>> y = taylor(x, torch.relu, torch.ones_like, torch.square)
        >>> (first,) = torch.autograd.grad(y, x, create_graph=True)
        >>> y.item(), first.item(), torch.autograd.grad(first, x)[0].item()
        (3.0, 1.0, 9.0)

    Limits:
        Infinite x gives nan.
    """
    at = x.detach()
    e = x - at
    line = value(at) + slope(at) * e
    return line if bend is None else line + bend(at) * e * e / 2
