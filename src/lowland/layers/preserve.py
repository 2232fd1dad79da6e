"""Balanced factors of a weight that is there already."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from lowland.layers.chain import Chain

__all__ = ["preserve"]


def preserve(weight: Tensor, chain: Chain, generator: torch.Generator | None = None) -> list[Tensor]:
    r"""Factors whose product is ``weight``, each with the share :math:`\sigma^{1/d}` of its singular values.

    With :math:`W = U \Sigma V^T` the factors are :math:`\Sigma^{1/d} V^T`, then :math:`\Sigma^{1/d}` in between,
    then :math:`U \Sigma^{1/d}`: balanced, :math:`W_{j+1}^T W_{j+1} = W_j W_j^T`, and with the least
    :math:`\sum_j \|W_j\|^2 = d \sum_i \sigma_i^{2/d}` of all factors with this product. Where a factor has a skip,
    the skip is taken off again.

    Hidden units beyond the rank of W would be dead, zero on both sides, and a weight of zeros could never be
    trained. They get weights of the same size in all factors but the last, whose column is 0: the product is
    the same, and they learn.

    Args:
        weight: The weight, as stored.
        chain: What the factors are, those between all with the same width.
        generator: Source of randomness for hidden units beyond all directions of W; None: PyTorch's own.

    Returns:
        The factors, as stored, in the dtype of ``weight``.

    Raises:
        ValueError: If the rank of ``weight`` is above the hidden width, or another factor than the first or last
            has a kernel of more than a point, or both have.

    Cost:
        One singular value decomposition per group, in float64.
    """
    if chain.depth == 1:
        factors = [chain.blocks(weight.detach().clone()).double()]
    else:
        factors = _balanced(
            chain.blocks(weight.detach()).double(), chain, torch.finfo(weight.dtype).eps, generator
        )
    own = [f - chain.skip(at, f) if chain.skips[at] else f for at, f in enumerate(factors)]
    return [chain.stored(blocks).to(weight.dtype).contiguous() for blocks in own]


def _balanced(W: Tensor, chain: Chain, eps: float, generator: torch.Generator | None) -> list[Tensor]:
    """The factors as blocks, of W as blocks.

    Raises:
        ValueError: If there are too few hidden units.
    """
    last = _kernel_is_last(chain)
    rows = W.movedim(2, -1).flatten(1, -2) if last else W.flatten(2)  # (g, o k, i) or (g, o, i k)
    U, S, V = torch.linalg.svd(rows, full_matrices=False)
    h = chain.widths[1]
    live = S / S[:, :1].clamp(min=torch.finfo(S.dtype).tiny) > eps * max(rows.shape[1:])
    if live[:, h:].any():
        raise ValueError(
            f"width must leave at least {int(live.sum(1).max())} hidden units, the rank of a weight, to preserve "
            f"it, got {h}: widen, or start anew with init='kaiming'."
        )
    share = torch.where(live, S, 0.0)[:, :h] ** (1 / chain.depth)
    size = share.sum(1, keepdim=True) / live.sum(1, keepdim=True).clamp(min=1)
    last_of = pad(U[:, :, :h] * share[:, None, :], (0, h - share.shape[1]))
    share = pad(share, (0, h - share.shape[1]))
    inner = torch.where(share > 0, share, torch.where(size > 0, size, 1.0))
    between = [torch.diag_embed(inner).reshape(chain.shape(at)) for at in range(1, chain.depth - 1)]
    first = (inner[:, :, None] * _up_to(h, V, generator)).reshape(chain.shape(0))
    return [first, *between, _last(last_of, chain, last)]


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
