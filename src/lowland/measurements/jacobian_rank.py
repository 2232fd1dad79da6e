"""Jacobian rank: in how many ways the weights can change the outputs."""

import math
from dataclasses import dataclass

import torch

from lowland.checks import fraction, whole
from lowland.measuring.kernel import kernel
from lowland.measuring.problem_measurement import ProblemMeasurement
from lowland.observe.ranks import effective_rank_entropy, stable_rank
from lowland.observe.reading import Reading
from lowland.operators.problem import Problem

__all__ = ["JacobianRank"]


@dataclass(frozen=True, kw_only=True)
class JacobianRank(ProblemMeasurement):
    r"""Ranks of the Jacobian J of all outputs on n examples, from its singular values :math:`\sigma_i`.

    * ``jacobian_rank``: how many :math:`\sigma_i` are above ``tol`` times the largest;
    * ``jacobian_effective_rank``: :math:`\exp(-\sum_i q_i \ln q_i)`, with
      :math:`q_i = \sigma_i / \sum_j \sigma_j`;
    * ``jacobian_stable_rank``: :math:`\|J\|_F^2 / \|J\|_2^2`.

    J has a row for each of the n k outputs and a column for each parameter; none of the ranks is above n k. The
    singular values are the roots of the eigenvalues of the n k x n k kernel J J', in float64.

    Cost:
        n k gradients of one example, and as many again for each block into which memory cuts them, halved;
        one eigenvalue problem of side n k.

    Limits:
        A rank depends on the number of examples: compare models at equal n. Singular values below 1e-7 of the
        largest are rounding.

    References:
        Andriushchenko, Varre, Pillaud-Vivien, Flammarion, SGD with large step sizes learns sparse features, 2023;
        the authors' code takes as many examples as there are parameters, and a ``tol`` of 1e-4.
    """

    examples: int = 64
    """How many of the first examples, n; all where there are fewer."""
    tol: float = 1e-4
    """What counts as zero, relative to the largest singular value, in (0, 1)."""
    limit: int = 4096
    """Most rows n k; more are refused."""

    def __post_init__(self) -> None:
        whole("examples", self.examples)
        whole("limit", self.limit)
        fraction("tol", self.tol, zero=False, one=False)

    def read(self, problem: Problem) -> list[Reading]:
        """The three ranks."""
        K, n = kernel(problem, self.examples, self.limit)
        sigma = torch.linalg.eigvalsh(K).flip(0).clamp(min=0).sqrt()
        found = {
            "jacobian_rank": float((sigma > self.tol * sigma[0]).sum()),
            "jacobian_effective_rank": math.exp(effective_rank_entropy(sigma)) if sigma.any() else 0.0,
            "jacobian_stable_rank": stable_rank(sigma),
        }
        settings = {**self.settings(), "examples": n, "rows": len(K), "largest": sigma[0].item()}
        return [
            Reading(name=name, value=value, unit="directions", settings=settings) for name, value in found.items()
        ]
