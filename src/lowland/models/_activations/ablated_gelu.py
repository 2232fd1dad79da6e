"""GELU without its second derivative."""

import torch
from torch import Tensor, nn

from lowland.models._activations.taylor import taylor

__all__ = ["AblatedGELU"]


class AblatedGELU(nn.GELU):
    r"""GELU whose second derivative is taken for 0; value and first derivative are GELU's.

    Training that differentiates once goes as with GELU. Where derivatives are differentiated, as by
    :class:`~lowland.methods.gradient_penalty.GradientPenalty`, the part of the Hessian in which two derivatives
    hit one activation is missing, as it is with ReLU.

    References:
        Dauphin, Agarwala, Mobahi, Neglected Hessian component explains mysteries in sharpness regularization,
        NeurIPS 2024. https://arxiv.org/abs/2401.10809
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - PyTorch's name
        """The activation, entry by entry."""
        return taylor(input, nn.functional.gelu, slope)


def slope(x: Tensor) -> Tensor:
    r"""GELU's derivative, :math:`\Phi(x) + x\, n(x)`."""
    return torch.ops.aten.gelu_backward(torch.ones_like(x), x)
