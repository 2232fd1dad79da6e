"""Layer Hessian norms: how curved the loss is in each layer by itself."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from lowland.checks import at_least, one_of, whole
from lowland.estimate.random_blocks import random_blocks
from lowland.estimate.top import top
from lowland.measuring.problem_measurement import ProblemMeasurement
from lowland.measuring.sampled import sampled
from lowland.observe.reading import Reading
from lowland.operators.curvature import Curvature
from lowland.operators.gauss_newton import gauss_newton
from lowland.operators.hessian import hessian
from lowland.operators.nme import nme
from lowland.operators.problem import Problem

__all__ = ["LayerHessianNorms"]


@dataclass(frozen=True, kw_only=True)
class LayerHessianNorms(ProblemMeasurement):
    r"""Norms of each layer's block A on the diagonal of the Hessian, or of one of its two parts.

    * ``hessian_spectral_norm``: the largest :math:`|\lambda|`; ``bound`` in the settings says how near one is;
    * ``hessian_trace``: the mean of :math:`z^\top A z` over random signs z;
    * ``hessian_frobenius_norm``: the root of the mean of :math:`\|A z\|^2`, low by ``stderr^2 / (2 value)``.

    The names begin with ``gauss_newton`` or ``nme`` for those matrices. Standard errors are over z. The site is
    the layer: a module with parameters of its own, or a parameter.

    Cost:
        For each layer a forward pass, ``probes`` products with its block, and 5 to 30 for the spectral norm.

    References:
        Skorski, Temperoni, Theobald, Revisiting weight initialization of deep neural networks, 2021, for the
        Hessian's norms by layer.
    """

    matrix: Literal["hessian", "gauss_newton", "nme"] = "hessian"
    """Whose blocks."""
    by: Literal["layer", "parameter"] = "layer"
    """What a block is of."""
    probes: int = 20
    """Random signs, >= 2."""
    tol: float = 1e-3
    """How near the spectral norms must be, relative to themselves."""
    seed: int = 0
    """Of the signs, and of where Lanczos' method starts."""

    def __post_init__(self) -> None:
        one_of("matrix", self.matrix, MATRICES)
        one_of("by", self.by, ["layer", "parameter"])
        whole("probes", self.probes, low=2)
        at_least("tol", self.tol, 0.0)
        whole("seed", self.seed, low=0)

    def read(self, problem: Problem) -> list[Reading]:
        """Three norms for each layer."""
        blocks = MATRICES[self.matrix](problem).blocks(by=self.by)
        return [
            r for name in list(blocks) for r in self._norms(name, blocks.pop(name))
        ]  # one block's graphs at a time

    def _norms(self, site: str, A: Curvature) -> list[Reading]:
        pairs = top(A, 1, "magnitude", tol=self.tol, seed=self.seed, strict=False)
        forms: list[float] = []
        squares: list[float] = []
        for Z in random_blocks(A, self.probes, self.seed):
            AZ = A @ Z
            forms += (Z * AZ).sum(0).tolist()
            squares += AZ.square().sum(0).tolist()
        square, error = sampled(squares)
        norm = math.sqrt(square)
        settings = {**self.settings(), "examples": A.problem.batches.examples, "parameters": A.problem.size}
        bound = {"bound": pairs.bounds[0].item(), "converged": pairs.converged, "products": pairs.products}

        def reading(name: str, value: float, stderr: float | None, **more: object) -> Reading:
            name, facts = f"{self.matrix}_{name}", {**settings, **more}
            return Reading(name=name, site=site, value=value, stderr=stderr, unit="loss/weight^2", settings=facts)

        return [
            reading("spectral_norm", abs(pairs.values[0].item()), None, **bound),
            reading("trace", *sampled(forms)),
            reading("frobenius_norm", norm, (error or 0.0) / (2 * norm) if norm else 0.0),
        ]


MATRICES: dict[str, Callable[[Problem], Curvature]] = {
    "hessian": hessian,
    "gauss_newton": gauss_newton,
    "nme": nme,
}
