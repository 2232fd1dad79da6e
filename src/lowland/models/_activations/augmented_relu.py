"""ReLU with a second derivative that it has not."""

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from lowland.checks import at_least, one_of
from lowland.models._activations.beta_gelu import beta_gelu_bend
from lowland.models._activations.taylor import taylor

__all__ = ["AugmentedReLU"]


class AugmentedReLU(nn.ReLU):
    r"""ReLU whose second derivative, a spike at 0 that autograd takes for 0, is spread into a bump of area 1.

    Value and first derivative are ReLU's, so training that differentiates once goes as with ReLU. The bump was not
    to be seen in what could be read of the paper; it is ours.

    Args:
        bump: ``gauss``, the normal density of standard deviation ``width``; ``bgelu``, the second derivative of
            :class:`~lowland.models._activations.beta_gelu.BetaGELU` with beta of one over ``width``.
        width: In units of the input, > 0.

    Raises:
        ValueError: If ``bump`` is neither, or ``width`` not above 0.

    References:
        Dauphin, Agarwala, Mobahi, Neglected Hessian component explains mysteries in sharpness regularization,
        NeurIPS 2024 (synthetic NME). https://arxiv.org/abs/2401.10809
    """

    def __init__(self, bump: Literal["gauss", "bgelu"] = "gauss", width: float = 1.0) -> None:
        super().__init__()
        one_of("bump", bump, BUMPS)
        at_least("width", width, 0)
        if width == 0:
            raise ValueError("width must be above 0, got 0: autograd does not see a spike.")
        self.bump, self.width = bump, width

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - PyTorch's name
        """The activation, entry by entry."""
        return taylor(input, torch.relu, heaviside, partial(BUMPS[self.bump], width=self.width))

    def extra_repr(self) -> str:
        """The bump."""
        return f"bump={self.bump!r}, width={self.width:g}"


def heaviside(x: Tensor) -> Tensor:
    """1 above 0, and 0 elsewhere, as autograd has ReLU's derivative."""
    return (x > 0).to(x)


def gauss(x: Tensor, width: float) -> Tensor:
    """The normal density of standard deviation ``width``."""
    return torch.exp(-(x / width).square() / 2) / (width * (2 * torch.pi) ** 0.5)


def bgelu(x: Tensor, width: float) -> Tensor:
    """The second derivative of a GELU with beta of one over ``width``."""
    return beta_gelu_bend(x, 1 / width)


BUMPS = {"gauss": gauss, "bgelu": bgelu}
