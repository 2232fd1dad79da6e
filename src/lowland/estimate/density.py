"""How the eigenvalues of a symmetric matrix are spread."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lowland.checks import at_least, whole
from lowland.estimate.check import check
from lowland.estimate.estimate import Estimate
from lowland.estimate.lanczos import Lanczos
from lowland.estimate.meter import Meter
from lowland.estimate.outliers import Outliers
from lowland.estimate.rademacher import rademacher
from lowland.operators.operator import Operator

__all__ = ["Density", "density"]

CONTRADICTION = 0.1
"""Of the matrix, by which its products may contradict each other."""


SHARP = 10
"""Rounding errors by which a node may miss an eigenvalue and be one."""


@dataclass(frozen=True)
class Density:
    """The spectrum as weighted points, one set of m for each of several random vectors.

    Attributes:
        nodes: Shape ``(probes, m)``, rising, float64, on the CPU.
        weights: Of the nodes; each probe's add up to one.
        bounds: An eigenvalue is no further from each node than this.
        rounding: Size of the nodes' rounding errors.
        products: With the matrix.
        gradients: What the products cost, in gradients of the same data; None where unknown.
    """

    nodes: Tensor
    weights: Tensor
    bounds: Tensor
    rounding: float
    products: int
    gradients: float | None

    def at(self, grid: Tensor, width: float) -> Estimate[Tensor]:
        """The density, smoothed by a normal curve of standard deviation ``width``; its integral is one.

        Args:
            grid: Where, of shape ``(any,)``.
            width: In units of the eigenvalues.

        Returns:
            Densities of the shape of ``grid``. Their standard error is that of choosing the random vectors; what
            m nodes cannot resolve, details finer than about the spectrum's range over m, comes on top.

        Raises:
            ValueError: If ``width`` is not positive.
        """
        at_least("width", width, 0.0)
        if width == 0:
            raise ValueError(
                "width must be positive, got 0: take a hundredth of the spectrum's range to begin with."
            )
        distance = (grid.double().cpu()[:, None, None] - self.nodes) / width
        bumps = torch.exp(-(distance**2) / 2) / (width * math.sqrt(2 * math.pi))
        return self._mean(bumps)

    def moment(self, order: int) -> Estimate[float]:
        """Mean of the eigenvalues' powers, tr(A^order) / n; unbiased for orders below 2 m.

        Raises:
            ValueError: If ``order`` is below 1.
        """
        whole("order", order)
        return self._number(self.nodes**order)

    def negative(self, below: float | None = None) -> tuple[Estimate[float], Estimate[float]]:
        """The least and the most that the share of eigenvalues smaller than ``-below`` can be.

        A node stands for the eigenvalues around it, on whichever side of the edge these are: the node next to the
        edge may count wholly on either side (inequalities of Chebyshev, Markov and Stieltjes). The two meet where
        the nodes are eigenvalues themselves; more ``steps`` bring them together.

        Args:
            below: None is the size of the rounding errors.

        Returns:
            Two shares, with the standard errors of choosing the random vectors.
        """
        edge = self.rounding if below is None else below
        at_least("below", edge, 0.0)
        left = self.nodes < -edge
        sure = (self.bounds <= SHARP * self.rounding) | (self.weights <= torch.finfo(self.weights.dtype).eps)
        exact = sure.all(-1, keepdim=True)
        inner = torch.cat([left[:, 1:], torch.zeros_like(left[:, :1])], 1)
        outer = torch.cat([torch.ones_like(left[:, :1]), left[:, :-1]], 1)
        least, most = (torch.where(exact, left, other).double() for other in (inner, outer))
        return self._number(least), self._number(most)

    def outliers(self, tol: float = 1e-3) -> Outliers:
        """The eigenvalues at both ends that are sure to ``tol`` of themselves, from the same products."""
        at_least("tol", tol, 0.0)
        return Outliers.of(self.nodes, self.bounds, tol)

    def _mean(self, numbers: Tensor) -> Estimate[Tensor]:
        """Weighted sums of numbers of the nodes, of shape ``(any, probes, m)``."""
        samples = (self.weights * numbers).sum(-1)
        probes = samples.shape[-1]
        stderr = samples.std(-1) / probes**0.5
        return Estimate(samples.mean(-1), stderr, probes, self.products, self.gradients)

    def _number(self, numbers: Tensor) -> Estimate[float]:
        mean = self._mean(numbers)
        return Estimate(float(mean.value), float(mean.stderr), mean.probes, self.products, self.gradients)


def density(operator: Operator, probes: int = 8, steps: int = 64, seed: int = 0) -> Density:
    r"""The spectral density by stochastic Lanczos quadrature.

    For a vector z of random signs, m Lanczos steps give nodes and weights with
    :math:`\sum_i w_i f(\theta_i) \approx z^T f(A) z / n`, exact for polynomials of degree below 2 m; over z,
    this is the mean of f over the eigenvalues. The basis is kept orthogonal, so no node is a copy of another.

    Args:
        operator: A symmetric matrix of side n.
        probes: Random vectors, at least 2.
        steps: Nodes of each, m; no more than n are made.
        seed: Of the random vectors.

    Returns:
        The density.

    Raises:
        ValueError: If an argument is out of range, the matrix is not symmetric or not the same each time, or
            products are not finite.

    Example:
        >>> import torch
        >>> from lowland.operators.hessian import hessian
        >>> from lowland.operators.problem import problem
        >>> data = torch.diag(torch.tensor([1.0, 2.0])), torch.ones(2, 1)
        >>> H = hessian(problem(torch.nn.Linear(2, 1, bias=False), torch.nn.functional.mse_loss, data))
        >>> round(density(H).moment(2).value, 4)
        8.5

    Cost:
        ``probes * steps`` products. Memory ``(steps + 1) n``.

    References:
        Ubaru, Chen, Saad, Fast estimation of tr(f(A)) via stochastic Lanczos quadrature, 2017. Ghorbani, Krishnan,
        Xiao, An investigation into neural net optimization via Hessian eigenvalue density, 2019.
    """
    check(operator, symmetric=True)
    whole("probes", probes, 2)
    whole("steps", steps, 2)
    meter = Meter(operator)
    n = operator.shape[0]
    lanczos = Lanczos(meter, min(steps, n), 1, seed)
    runs = []
    for probe in range(probes):
        z = rademacher(n, 1, seed=seed, first=probe, dtype=operator.dtype, device=operator.device)
        runs.append(_quadrature(lanczos, z[:, 0]))
    nodes, weights, bounds = (torch.from_numpy(np.stack(each)) for each in zip(*runs, strict=True))
    return Density(nodes, weights, bounds, lanczos.rounding, meter.products, meter.gradients)


def _quadrature(lanczos: Lanczos, z: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes, weights and bounds of one random vector, of shape ``(m,)``.

    Raises:
        ValueError: If products contradict each other.
    """
    lanczos.clear()
    lanczos.add(z)
    while lanczos.done < lanczos.size:
        if lanczos.exhausted:
            lanczos.draw()
        lanczos.step()
    ritz = lanczos.ritz()
    if ritz.noise.max() > CONTRADICTION * lanczos.scale:
        raise ValueError(
            f"The operator must be symmetric and the same each time, got products that contradict each other by "
            f"{ritz.noise.max() / lanczos.scale:.0%}: switch dropout off, or use float64."
        )
    return ritz.values, ritz.vectors[0] ** 2, ritz.residuals + ritz.noise + lanczos.rounding
