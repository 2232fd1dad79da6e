"""The loss that keeps a network's outputs near those of earlier weights."""

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["divergence"]


def divergence(outputs: Tensor, past: Tensor, tau: float) -> Tensor:
    r"""Of each example, :math:`\tau^2\, \mathrm{KL}(\mathrm{softmax}(v/\tau) \,\Vert\, \mathrm{softmax}(z/\tau))`.

    Computed from logarithms in at least float32, so it stays finite where a softmax would be 0.

    Args:
        outputs: Logits z of now, of shape ``(n, k)``.
        past: Logits v of earlier weights, of shape ``(n, k)``; a constant.
        tau: Temperature, > 0.

    Returns:
        Divergences in nats, >= 0, of shape ``(n,)``.
    """
    wide = torch.promote_types(outputs.dtype, torch.float32)
    now = torch.log_softmax(outputs.to(wide) / tau, dim=-1)
    then = torch.log_softmax(past.detach().to(wide) / tau, dim=-1)
    return tau**2 * functional.kl_div(now, then, reduction="none", log_target=True).sum(-1)
