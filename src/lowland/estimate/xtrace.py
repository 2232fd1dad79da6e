"""The trace from random vectors that each serve twice."""

from dataclasses import replace

import torch
from torch import Tensor

from lowland.estimate.estimate import Estimate
from lowland.estimate.meter import Meter
from lowland.estimate.random_blocks import COLUMNS, random_blocks
from lowland.operators.operator import Operator

__all__ = ["xtrace"]


def xtrace(operator: Operator, probes: int, seed: int) -> Estimate[float]:
    r"""Mean over i of the trace on a space sketched by all random vectors but the i-th, plus the i-th's rest.

    With :math:`\Omega` the k random columns, :math:`QR = A\Omega`, and :math:`s_i` the unit vector along column i
    of :math:`R^{-T}`, leaving column i out takes the direction :math:`Q s_i` out of the space. So all k estimates

    .. math:: \operatorname{tr} Q^T A Q - s_i^T Q^T A Q s_i + u_i^T A u_i, \qquad
              u_i = \omega_i - Q (I - s_i s_i^T) Q^T \omega_i

    come from 2 k products. Each is unbiased, because its space does not depend on its vector.

    Args:
        operator: Square, of side n.
        probes: Products, at least 4 and at most n; an odd one is left out.
        seed: Of the random signs.

    Returns:
        The trace; its ``probes`` are k. The k estimates share vectors, so their mean varies up to 1.6 times as
        much as their spread tells (measured; most where eigenvalues decay slowly). The standard error is the
        paper's, which takes them for independent, times the root of 2: right there, too large elsewhere.

    Cost:
        As many products as probes. Memory ``2 probes n``.

    References:
        Epperly, Tropp, Webber, XTrace: making the most of every sample in stochastic trace estimation, 2024.
    """
    meter, k = Meter(operator), probes // 2
    blocks = list(random_blocks(operator, k, seed))
    Q, R = torch.linalg.qr(torch.cat([meter @ block for block in blocks], dim=1))
    Omega = torch.cat(blocks, dim=1)
    Z = torch.cat([meter @ part for part in Q.split(COLUMNS, dim=1)], dim=1)
    H, W, T, R = (small.double().cpu() for small in (Q.T @ Z, Q.T @ Omega, Z.T @ Omega, R))
    S = _left_out_directions(R, torch.finfo(operator.dtype).eps)
    mean = Estimate.of(_estimates(H, W, T, R, S), meter)
    return replace(mean, stderr=2**0.5 * mean.stderr)


def _left_out_directions(R: Tensor, least: float) -> Tensor:
    """Unit columns along those of R^-T; pivots that vanish, where the range is small, are made ``least``."""
    R = R / (float(R.diagonal().abs().max()) or 1.0)
    R = R + torch.diag(torch.where(R.diagonal().abs() < least, least, 0.0))
    S = torch.linalg.solve_triangular(R.T, torch.eye(len(R), dtype=R.dtype), upper=False)
    return S / S.norm(dim=0)


def _estimates(H: Tensor, W: Tensor, T: Tensor, R: Tensor, S: Tensor) -> Tensor:
    """The k estimates, from Q'AQ, Q'Omega, (AQ)'Omega, R and the directions left out, all ``(k, k)``."""
    X = W - S * (S * W).sum(0)
    on_the_space = H.trace() - (S * (H @ S)).sum(0)
    return on_the_space + (W * R).sum(0) - (T * X).sum(0) - (X * R).sum(0) + (X * (H @ X)).sum(0)
