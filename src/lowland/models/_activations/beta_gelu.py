"""GELU between itself and ReLU."""

import torch
from torch import Tensor, nn

from lowland.checks import at_least

__all__ = ["BetaGELU", "beta_gelu_bend"]

FAR = 1500.0
"""Square of an entry beyond which the normal density is 0 in any precision."""


class BetaGELU(nn.Module):
    r"""A GELU as sharp as one likes, :math:`\varphi_\beta(x) = x\, \Phi(\beta x)`, :math:`\Phi` the normal's.

    GELU at :math:`\beta = 1`, ReLU as :math:`\beta \to \infty`. The second derivative is a bump of width
    :math:`1/\beta`, height about :math:`0.8\beta`, and area 1 whatever :math:`\beta`; so for a large one few units
    see it.

    Args:
        beta: Sharpness, > 0.

    Raises:
        ValueError: If beta is not above 0.

    Example:
        >>> BetaGELU(8.0)(torch.tensor([0.0, 1.0])).tolist()
        [0.0, 1.0]

    References:
        Dauphin, Agarwala, Mobahi, Neglected Hessian component explains mysteries in sharpness regularization,
        NeurIPS 2024. https://arxiv.org/abs/2401.10809
    """

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        at_least("beta", beta, 0)
        if beta == 0:
            raise ValueError("beta must be above 0, got 0: at 0 the activation is a straight line.")
        self.beta = beta

    def forward(self, x: Tensor) -> Tensor:
        """The activation, entry by entry."""
        return nn.functional.gelu(self.beta * x) / self.beta

    def extra_repr(self) -> str:
        """The sharpness."""
        return f"beta={self.beta:g}"


def beta_gelu_bend(x: Tensor, beta: float) -> Tensor:
    r"""The second derivative, :math:`\beta\, n(\beta x)(2 - \beta^2 x^2)`, with n the normal density.

    Args:
        x: Any shape.
        beta: Sharpness, > 0.

    Returns:
        The same shape; its integral is 1.
    """
    square = (beta * x).square().clamp(max=FAR)
    return beta * torch.exp(-square / 2) / (2 * torch.pi) ** 0.5 * (2 - square)
