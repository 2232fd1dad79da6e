"""A random map to fewer columns that keeps inner products of rows right on average."""

import torch
from torch import Tensor

from lowland.seeds import generator

__all__ = ["Sketch"]


class Sketch:
    r"""Count sketch: every column gets a random sign and is added to one of ``size`` buckets.

    For rows x, y of length d the sketched inner product has mean :math:`\langle x, y\rangle` and standard
    deviation at most :math:`\sqrt{2 / m}\,\|x\|\|y\|` with m = ``size``. Buckets are filled evenly, by a random
    permutation, so that the map is a gather and a sum: fast, and bit-reproducible on every device.

    Args:
        width: Number d of columns that come in.
        size: Number m of columns that go out.
        seed: Seed of the map.
        name: Name of the random stream, such as the layer's.

    Cost:
        O(n d); no matrix is stored.

    References:
        Charikar, Chen, Farach-Colton, Finding frequent items in data streams, 2002.
    """

    def __init__(self, width: int, size: int, *, seed: int, name: str) -> None:
        self.size = size
        draw = generator(seed, "sketch", name)
        self.order = torch.randperm(width, generator=draw)
        self.signs = torch.randint(0, 2, (width,), generator=draw) * 2 - 1

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows (n, d) to rows (n, m)."""
        order, signs = self.order.to(rows.device), self.signs.to(rows.device, rows.dtype)
        mixed = rows.index_select(1, order).mul_(signs)
        full = mixed.shape[1] - mixed.shape[1] % self.size
        out = mixed[:, :full].unflatten(1, (-1, self.size)).sum(1)
        out[:, : mixed.shape[1] - full] += mixed[:, full:]
        return out
