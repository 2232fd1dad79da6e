"""The effective rank of a product of random matrices."""

from collections.abc import Sequence
from math import fsum, log

import numpy as np

from lowland.checks import whole

__all__ = ["rank_vs_depth"]

NARROW = 0.4
"""Largest sum of one over the sizes: where it is compared with draws."""


def rank_vs_depth(sizes: Sequence[int]) -> float:
    r"""Mean spectral entropy of :math:`W W^T` for a product W of independent Gaussian matrices, in nats.

    With :math:`W = W_L \cdots W_1`, where :math:`W_j` maps ``sizes[j - 1]`` dimensions to ``sizes[j]``, and
    :math:`p_i` the shares of the eigenvalues of :math:`W W^T` in their sum,

    .. math:: \rho = -\sum_i p_i \ln p_i \to \ln m + 1 - \int_0^1 \frac{1 - F(t)}{t}\, dt, \qquad
        F(t) = \prod_{j=0}^{L} \Bigl(1 - t \frac{m}{n_j}\Bigr), \qquad m = \min_j n_j.

    Where all sizes are n this is :math:`\rho = \ln n - \sum_{j=2}^{L+1} 1/j`: with every factor the rank falls.
    The order of the sizes does not matter, nor do scale and, for large sizes, the distribution of the entries.
    N Gaussian inputs are one more factor: put N in front of the sizes for the kernel matrix of a random linear
    network.

    Derivation: the eigenvalues x of mean 1 follow in the limit the free multiplicative convolution of
    Marchenko-Pastur laws, whose S-transform is :math:`\prod_{j \ne \min} (1 + z m / n_j)^{-1}`. Lagrange inversion
    gives their moments :math:`E x^s = \frac1s [z^{s-1}] F(-z)^s`, and with the contour shrunk to the cut
    :math:`E x^s = \frac{\sin \pi s}{\pi s} \int_0^1 t^{-s} F(t)^s dt`, continued to :math:`s \ge 1`. The
    derivative at 1 is :math:`E\, x \ln x = \int_0^1 (1 - F)/t\, dt - 1`, and :math:`\rho = \ln m - E\, x \ln x`.
    For one size these are the Fuss-Catalan numbers; for two factors of which one is wide it is Page's
    :math:`\ln m - m / 2n`.

    Args:
        sizes: Of input, hidden layers and output, at least two, each >= 1, with :math:`\sum_j 1/n_j \le 0.4`.

    Returns:
        The entropy, between 0 and ln m. Within this range means of draws differ by less than 0.05, mostly below:
        the limit is of sizes much larger than their number, and wrong for long narrow chains.

    Raises:
        TypeError: If a size is no whole number.
        ValueError: If there are fewer than two, or the chain is too long for its width.

    Example:
        >>> round(rank_vs_depth([64, 64]), 2), round(rank_vs_depth([64] * 9), 2)
        (3.66, 2.33)

    References:
        Penson, Zyczkowski, Product of Ginibre matrices: Fuss-Catalan and Raney distributions, 2011, for one size.
        Page, Average entropy of a subsystem, 1993.
        Huh et al., The low-rank simplicity bias in deep networks, 2023, for the question.
    """
    for size in sizes:
        whole("sizes", size)
    if len(sizes) < 2:
        raise ValueError(f"sizes must be at least two, those of input and output, got {list(sizes)}.")
    narrow = fsum(1 / size for size in sizes)
    if narrow > NARROW:
        raise ValueError(
            f"sizes must have a sum of one over each of at most {NARROW}, got {narrow:.3g}: the chain is too long "
            "for its width."
        )
    smallest = min(sizes)
    t, weights = np.polynomial.legendre.leggauss(len(sizes) // 2 + 1)  # exact: (1 - F) / t is a polynomial
    t, weights = (t + 1) / 2, weights / 2
    F = np.prod([1 - t * smallest / size for size in sizes], axis=0)
    return log(smallest) + 1 - float(weights @ ((1 - F) / t))
