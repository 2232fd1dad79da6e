"""Convolutions and batch norms that go backward twice as fast as they should."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["Quick"]

aten = torch.ops.aten


class Quick(TorchFunctionMode):
    """Inside, convolutions and evaluating batch norms are computed so that their second derivatives are cheap.

    PyTorch's own second derivative of a convolution takes images for kernels, and that of a batch norm passes
    over memory a dozen times: a product with the Hessian of a residual network costs 2.8 gradients with them and
    2.2 without, one with the Gauss-Newton matrix 2.6 and 1.4.

    Args:
        linear: Whether only derivatives of gradients with respect to what came from behind are needed.
    """

    def __init__(self, *, linear: bool = False) -> None:
        super().__init__()
        self.linear = linear

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401 - whatever the function gives
        if func in CONVOLUTIONS:
            found = _convolution(self.linear, *args, **(kwargs or {}))
        elif func is nn.functional.batch_norm:
            found = _batch_norm(*args, **(kwargs or {}))
        else:
            found = None
        return func(*args, **(kwargs or {})) if found is None else found


CONVOLUTIONS = (torch.conv1d, torch.conv2d, torch.conv3d)


def _convolution(
    linear: bool,
    input: Tensor,  # noqa: A002 - PyTorch's name
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor | None:
    """The convolution; None where PyTorch's own is to be taken."""
    if isinstance(padding, str) or input.ndim != weight.ndim or not _plain(input, weight):
        return None
    wide = [[n] * (weight.ndim - 2) if isinstance(n, int) else list(n) for n in (stride, padding, dilation)]
    y = _Convolution.apply(input, weight, (*wide, False, [0] * len(wide[0]), groups), linear)
    return y if bias is None else y + _by_channel(bias, y)


def _batch_norm(
    input: Tensor,  # noqa: A002 - PyTorch's names
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor | None:
    """The map that a batch norm is with running statistics; None where PyTorch's own is to be taken."""
    if training or running_mean is None or running_var is None or not _plain(input, running_var):
        return None
    scale = (running_var + eps).rsqrt() if weight is None else weight * (running_var + eps).rsqrt()
    shift = -running_mean * scale if bias is None else bias - running_mean * scale
    return input * _by_channel(scale, input) + _by_channel(shift, input)


def _by_channel(t: Tensor, x: Tensor) -> Tensor:
    return t.view(-1, *[1] * (x.ndim - 2))


def _plain(x: Tensor, other: Tensor) -> bool:
    """Whether both are real and of one dtype, which no autocast changes."""
    return x.is_floating_point() and x.dtype == other.dtype and not torch.is_autocast_enabled(x.device.type)


class _Convolution(torch.autograd.Function):
    """``x * W``, bilinear in x (n, c, ...) and W (o, c / groups, ...)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, W: Tensor, how: Any, linear: bool) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(x, W)
        ctx.how, ctx.linear = how, linear
        return aten.convolution(x, W, None, *how)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:  # type: ignore[override]  # noqa: ANN401
        x, W = (t.detach() for t in ctx.saved_tensors) if ctx.linear else ctx.saved_tensors
        return *_Gradients.apply(g, x, W, ctx.how, ctx.needs_input_grad[:2]), None, None


class _Gradients(torch.autograd.Function):
    """A convolution's gradients with respect to x and W: linear in the gradient g of its output."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, W: Tensor, how: Any, wanted: Any) -> Any:  # noqa: ANN401
        ctx.save_for_backward(g, x, W)
        ctx.set_materialize_grads(False)
        ctx.how = how
        return aten.convolution_backward(g, x, W, None, *how, [*wanted, False])[:2]

    @staticmethod
    def backward(ctx: Any, to_x: Tensor | None, to_W: Tensor | None) -> Any:  # type: ignore[override]  # noqa: ANN401
        g, x, W = ctx.saved_tensors
        wants_g, wants_x, wants_W = ctx.needs_input_grad[:3]
        of_g = of_x = of_W = None
        if wants_g:
            terms = [(to_x, W), (x, to_W)]
            parts = [aten.convolution(a, B, None, *ctx.how) for a, B in terms if a is not None and B is not None]
            of_g = parts[0] + parts[1] if len(parts) == 2 else parts[0] if parts else None
        if wants_x and to_W is not None:
            of_x = aten.convolution_backward(g, x, to_W, None, *ctx.how, [True, False, False])[0]
        if wants_W and to_x is not None:
            of_W = aten.convolution_backward(g, to_x, W, None, *ctx.how, [False, True, False])[1]
        return of_g, of_x, of_W, None, None
