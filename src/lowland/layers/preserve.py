"""Balanced factors of a weight that is there already."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from lowland.layers.chain import Chain

__all__ = ["preserve"]

ROUNDING = 4.0
"""How far from the weight that was meant a stored one may be, in units of its dtype's eps: sums round too."""


def preserve(weight: Tensor, chain: Chain, generator: torch.Generator | None = None) -> list[Tensor]:
    r"""Factors whose product is ``weight``, each with the share :math:`\sigma^{1/d}` of its singular values.

    With :math:`W = U \Sigma V^T` the factors are :math:`\Sigma^{1/d} V^T`, then :math:`\Sigma^{1/d}` in between,
    then :math:`U \Sigma^{1/d}`: balanced, :math:`W_{j+1}^T W_{j+1} = W_j W_j^T`, and with the least
    :math:`\sum_j \|W_j\|^2 = d \sum_i \sigma_i^{2/d}` of all factors with this product. Where a factor has a skip,
    the skip is taken off again.

    Hidden units beyond the rank of W would be dead, zero on both sides, and a weight of zeros could never be
    trained. They get weights of the mean size in all factors but the last, whose column is 0: the product is
    the same, and they learn. So do those whose singular value is no more than rounding in the dtype of W; their
    column in the last factor is not 0 but what keeps the product.

    Args:
        weight: The weight, as stored.
        chain: What the factors are, those between all with the same width.
        generator: Source of randomness for hidden units beyond all directions of W; None: PyTorch's own.

    Returns:
        The factors, as stored, in the dtype of ``weight``.

    Raises:
        ValueError: If ``weight`` is not finite or on the meta device, or what does not fit into the hidden width
            is more of it than rounding, :math:`4 \epsilon \|W\|_F`, or another factor than the first or last has
            a kernel of more than a point, or both have.

    Cost:
        One singular value decomposition per group, in float64.
    """
    W = chain.blocks(weight.detach().clone()).double()
    factors = [W] if chain.depth == 1 else _balanced(W, chain, torch.finfo(weight.dtype).eps, generator)
    own = [f - chain.skip(at, f) if chain.skips[at] else f for at, f in enumerate(factors)]
    return [chain.stored(blocks).to(weight.dtype).contiguous() for blocks in own]


def _balanced(W: Tensor, chain: Chain, eps: float, generator: torch.Generator | None) -> list[Tensor]:
    """The factors as blocks, of W as blocks, which was rounded to eps."""
    _refuse_no_numbers(W)
    last = _kernel_is_last(chain)
    rows = W.movedim(2, -1).flatten(1, -2) if last else W.flatten(2)  # (g, o k, i) or (g, o, i k)
    U, S, V = torch.linalg.svd(rows, full_matrices=False)
    m, h = S.shape[1], chain.widths[1]
    noise = (ROUNDING * eps + max(rows.shape[1:]) * torch.finfo(S.dtype).eps) * S.norm(dim=1, keepdim=True)
    _refuse_narrow(S, noise, h)

    S = pad(S, (0, h - m))  # cut off if negative, as U below
    alive = S * math.sqrt(m) > noise
    share = torch.where(alive, S, 0.0) ** (1 / chain.depth)
    mean = share.sum(1, keepdim=True) / alive.sum(1, keepdim=True).clamp(min=1)
    size = torch.where(alive, share, torch.where(mean > 0, mean, 1.0))
    first = (size[:, :, None] * _up_to(h, V, generator)).reshape(chain.shape(0))
    between = [torch.diag_embed(size).reshape(chain.shape(at)) for at in range(1, chain.depth - 1)]
    last_of = pad(U, (0, h - m)) * (S / size ** (chain.depth - 1))[:, None, :]
    return [first, *between, _last(last_of, chain, last)]


def _refuse_no_numbers(W: Tensor) -> None:
    if W.is_meta:
        raise ValueError("The weight must have values to be preserved, got the meta device: give init='kaiming'.")
    wrong = W[~W.isfinite()]
    if wrong.numel():
        raise ValueError(
            f"The weight must be finite to be preserved, got {wrong.numel()} values such as {wrong[0].item()}: "
            "mend it, or start anew with init='kaiming'."
        )


def _refuse_narrow(S: Tensor, noise: Tensor, h: int) -> None:
    """Refuse to drop more than noise, (g, 1), of singular values, (g, m).

    Raises:
        ValueError: If the first h hold less.
    """
    rest = S.square().flip(1).cumsum(1).flip(1).sqrt()  # what is dropped with none of the first kept, one, …
    needed = int((rest > noise).sum(1).max())
    if needed > h:
        raise ValueError(
            f"width must leave at least {needed} hidden units, the rank of a weight, to preserve it, got {h}: "
            "widen, or start anew with init='kaiming'."
        )


def _last(matrix: Tensor, chain: Chain, kernel: bool) -> Tensor:
    """The last factor as blocks, of (g, o k, h)."""
    g, o, h, *k = chain.shape(chain.depth - 1)
    return matrix.reshape(g, o, *k, h).movedim(-1, 2) if kernel else matrix.reshape(g, o, h, *k)


def _kernel_is_last(chain: Chain) -> bool:
    """Whether the last factor has the kernel; else the first has it, or none.

    Raises:
        ValueError: If another has one.
    """
    wide = [at for at, kernel in enumerate(chain.kernels) if math.prod(kernel) > 1]
    if len(wide) > 1 or (wide and 0 < wide[0] < chain.depth - 1):
        raise ValueError(
            f"kernel_sizes must be 1 but for the first factor or the last to preserve a weight, got "
            f"{chain.kernels}: start anew with init='kaiming'."
        )
    return bool(wide) and wide[0] > 0


def _up_to(h: int, rows: Tensor, generator: torch.Generator | None) -> Tensor:
    """The first h rows of (g, m, c), with random ones of about unit length where m is less."""
    g, m, c = rows.shape
    if m >= h:
        return rows[:, :h]
    more = torch.randn(g, h - m, c, generator=generator, dtype=rows.dtype, device=rows.device)
    return torch.cat([rows, more / math.sqrt(c)], 1)
