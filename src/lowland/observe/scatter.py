"""Mean and centred second moments of rows, streamed, by Chan's merge of means."""

import torch
from torch import Tensor

__all__ = ["Scatter", "add_gram", "centred"]

BLOCK = 256


class Scatter:
    r"""The scatter matrix :math:`C = \sum_i (x_i - \mu)(x_i - \mu)^\top` of all rows seen so far.

    Every chunk is centred at its own mean before it is multiplied, and the means are merged in float64, so a
    huge common offset costs no digits. Products are taken in the rows' own dtype, sums in float64.

    Args:
        width: Number d of columns.
        device: Where to add up; needs float64.

    Cost:
        d^2 numbers of memory however many rows; n d^2 multiplications (half of a full product).

    References:
        Chan, Golub, LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, 1979.
    """

    def __init__(self, width: int, device: torch.device | str = "cpu") -> None:
        self.count = 0
        self.mean = torch.zeros(width, dtype=torch.float64, device=device)
        self.matrix = torch.zeros(width, width, dtype=torch.float64, device=device)
        """Lower triangle of C; what is above it means nothing."""

    def add(self, rows: Tensor) -> None:
        """Take in rows of shape (n, d); a few hundred at a time are fastest."""
        y, mean = centred(rows)
        total = self.count + len(rows)
        step = mean - self.mean
        add_gram(self.matrix, y)
        self.matrix.addr_(step, step, alpha=self.count * len(rows) / total)
        self.mean += step * (len(rows) / total)
        self.count = total


def centred(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (n, d) minus their mean, and the mean in float64.

    Single precision is enough: the mean is taken off twice, so that the second time it is small.
    """
    near = rows.mean(0)
    y = rows - near
    rest = y.mean(0)
    return y.sub_(rest), near.double() + rest.double()


def add_gram(total: Tensor, z: Tensor) -> None:
    """Add the lower triangle of z^T z, for z of shape (m, d), to ``total`` of shape (d, d), block by block."""
    for start in range(0, z.shape[1], BLOCK):
        columns = slice(start, start + BLOCK)
        total[start:, columns] += z[:, start:].T @ z[:, columns]
