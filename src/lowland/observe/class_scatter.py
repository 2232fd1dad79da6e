"""Means of classes and the scatter around them, of rows that arrive in batches."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

__all__ = ["ClassScatter"]


class ClassScatter:
    r"""Mean :math:`\mu_c` of every class, and :math:`S = \sum_i (x_i - \mu_{y_i})(x_i - \mu_{y_i})^\top`.

    Each batch is centred at its own class means before it is multiplied, and the means are merged, all in float64:
    a scatter that is tiny beside the means keeps its digits, and neither order nor size of the batches matters.

    Args:
        classes: Number k of classes.
        width: Number d of columns.
        device: Where to add up; needs float64.

    Cost:
        (k + d) d numbers of memory however many rows; n (k + d) d multiplications.

    References:
        Chan, Golub, LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, 1979.
    """

    def __init__(self, classes: int, width: int, device: torch.device | str = "cpu") -> None:
        self.counts = torch.zeros(classes, dtype=torch.float64, device=device)
        self.means = torch.zeros(classes, width, dtype=torch.float64, device=device)
        self.matrix = torch.zeros(width, width, dtype=torch.float64, device=device)
        """S, shape (d, d)."""

    def add(self, rows: Tensor, labels: Tensor) -> None:
        """Take in rows (n, d) with labels (n,) in 0 .. k - 1."""
        rows, member = rows.double(), one_hot(labels, len(self.counts)).double()  # (n, d), (n, k)
        counts = member.sum(0)
        means = member.T @ rows / counts.clamp(min=1)[:, None]
        total = (self.counts + counts).clamp(min=1)
        y, step = rows - means[labels], means - self.means
        between = step * (self.counts * counts / total).sqrt()[:, None]
        self.matrix += y.T @ y + between.T @ between
        self.means += step * (counts / total)[:, None]
        self.counts += counts
