"""Hessian split: how much of the curvature is the Gauss-Newton matrix's, and how much the neglected rest's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lowland.checks import at_least, whole
from lowland.estimate.eigen_pairs import EigenPairs
from lowland.estimate.random_blocks import random_blocks
from lowland.estimate.top import top
from lowland.measuring.layer_lengths import layer_lengths
from lowland.measuring.problem_measurement import ProblemMeasurement
from lowland.measuring.sampled import sampled
from lowland.observe.reading import Reading
from lowland.operators.curvature import Curvature
from lowland.operators.gauss_newton import gauss_newton
from lowland.operators.hessian import hessian
from lowland.operators.nme import nme
from lowland.operators.problem import Problem

__all__ = ["HessianSplit"]


@dataclass(frozen=True, kw_only=True)
class HessianSplit(ProblemMeasurement):
    r"""The Hessian :math:`H = G + N`, by its Gauss-Newton matrix G and the nonlinear modelling error N.

    * ``hessian_lambda_max``, ``gauss_newton_lambda_max``, ``nme_lambda_max``: the largest eigenvalues; an
      eigenvalue is as near as ``bound`` in the settings says;
    * ``hessian_trace``, ``gauss_newton_trace``, ``nme_trace``: means of :math:`z^\top A z` over random signs z,
      the same for all, so that the first is the sum of the others; the standard error is over z;
    * ``nme_ratio``: :math:`\|N v\| / \|G v\|`, of the whole and of each layer's rows, for the z (``along`` in
      the settings is ``random``) and for the eigenvector of H's largest eigenvalue (``top``). No reading where
      G v is zero.

    Cost:
        ``probes + 1`` products with G and with N, and for the eigenvalues 10 to 30 with each of the three.

    References:
        Dauphin, Agarwala, Mobahi, Neglected Hessian component explains mysteries in sharpness regularization,
        2024.
    """

    probes: int = 20
    """Random signs, >= 2."""
    tol: float = 1e-3
    """How near the largest eigenvalues must be, relative to themselves."""
    seed: int = 0
    """Of the signs, and of where Lanczos' method starts."""

    def __post_init__(self) -> None:
        whole("probes", self.probes, low=2)
        at_least("tol", self.tol, 0.0)
        whole("seed", self.seed, low=0)

    def read(self, problem: Problem) -> list[Reading]:
        """Eigenvalues, traces, and ratios by layer."""
        G, N, H = gauss_newton(problem), nme(problem), hessian(problem)
        matrices = {"hessian": H, "gauss_newton": G, "nme": N}
        pairs = {name: top(A, 1, tol=self.tol, seed=self.seed, strict=False) for name, A in matrices.items()}
        traces, ratios = self._sampled(problem, G, N)
        v = pairs["hessian"].vectors
        along = {"random": ratios, "top": _ratios(problem, G @ v, N @ v)}
        settings = {**self.settings(), "examples": problem.batches.examples}
        return [
            *(_largest(name, found, settings) for name, found in pairs.items()),
            *(_mean(f"{name}_trace", "", forms, UNIT, settings) for name, forms in traces.items()),
            *(
                _mean("nme_ratio", site, found, "", {**settings, "along": way})
                for way, by_layer in along.items()
                for site, found in by_layer.items()
            ),
        ]

    def _sampled(self, problem: Problem, G: Curvature, N: Curvature) -> tuple["Numbers", "Numbers"]:
        """Quadratic forms of each matrix, and ratios of each layer, one for each of the random signs."""
        traces: Numbers = {"hessian": [], "gauss_newton": [], "nme": []}
        ratios: Numbers = {}
        for Z in random_blocks(G, self.probes, self.seed):
            GZ, NZ = G @ Z, N @ Z
            g, n = (Z * GZ).sum(0), (Z * NZ).sum(0)
            for name, form in zip(traces, (g + n, g, n), strict=True):
                traces[name] += form.tolist()
            for site, found in _ratios(problem, GZ, NZ).items():
                ratios.setdefault(site, []).extend(found)
        return traces, ratios


Numbers = dict[str, list[float]]

UNIT = "loss/weight^2"


def _ratios(problem: Problem, GZ: Tensor, NZ: Tensor) -> Numbers:
    """The ratio of lengths for each column, by layer; of layers where G Z is not zero."""
    upper, lower = layer_lengths(problem, NZ), layer_lengths(problem, GZ)
    found = {site: (upper[site] / length)[length > 0].tolist() for site, length in lower.items()}
    return {site: ratios for site, ratios in found.items() if ratios}


def _largest(name: str, pairs: EigenPairs, settings: dict[str, Any]) -> Reading:
    facts = {"bound": pairs.bounds[0].item(), "converged": pairs.converged, "products": pairs.products}
    value = pairs.values[0].item()
    return Reading(name=f"{name}_lambda_max", value=value, unit=UNIT, settings={**settings, **facts})


def _mean(name: str, site: str, values: Sequence[float], unit: str, settings: dict[str, Any]) -> Reading:
    value, stderr = sampled(values)
    return Reading(name=name, site=site, value=value, stderr=stderr, unit=unit, settings=settings)
