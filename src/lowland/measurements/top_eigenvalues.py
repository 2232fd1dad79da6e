"""Top eigenvalues: how sharply the loss curves in the directions in which it curves most."""

from dataclasses import dataclass
from typing import Literal

from lowland.checks import at_least, one_of, whole
from lowland.estimate.top import top
from lowland.measuring.problem_measurement import ProblemMeasurement
from lowland.observe.reading import Reading
from lowland.operators.gauss_newton import gauss_newton
from lowland.operators.hessian import hessian
from lowland.operators.nme import nme
from lowland.operators.problem import Problem

__all__ = ["TopEigenvalues"]

MATRICES = {"hessian": hessian, "gauss_newton": gauss_newton, "nme": nme}


@dataclass(frozen=True, kw_only=True)
class TopEigenvalues(ProblemMeasurement):
    r"""The k largest eigenvalues of the Hessian, of its Gauss-Newton matrix, or of what is left of it.

    ``hessian_lambda_max``, then ``hessian_lambda_2`` and so on. An eigenvalue is as near as ``bound`` in the
    settings says; ``converged`` is whether all are as near as asked for.

    Read again of the same problem after the weights moved a little, it starts from the eigenvectors found before,
    which it keeps in ``problem.warm`` (k vectors of the parameters' size): ``warm`` in the settings. Values then
    differ from a cold start's within ``tol``, and an eigenvalue that has overtaken the others meanwhile can be
    missed.

    Cost:
        For the largest about 10 products with the matrix, 3 after a warm start and a small step (5 while batch
        norm's statistics settle); for 5 of them 12 to 40, and 15 to 25. ``products`` in the settings counts them.
    """

    k: int = 1
    """How many, >= 1."""
    of: Literal["hessian", "gauss_newton", "nme"] = "hessian"
    """Whose: the Hessian's, or one of the two that add up to it."""
    tol: float = 1e-3
    """How near they must be, relative to themselves."""
    block: int = 1
    """Random vectors to start from, >= 1: b of them find an eigenvalue that is there several times b times."""
    seed: int = 0
    """Of where Lanczos' method starts."""

    def __post_init__(self) -> None:
        whole("k", self.k)
        whole("block", self.block)
        one_of("of", self.of, MATRICES)
        at_least("tol", self.tol, 0.0)
        whole("seed", self.seed, low=0)

    def read(self, problem: Problem) -> list[Reading]:
        """The eigenvalues, falling."""
        key = f"{self.k} of {self.of}"
        warm = problem.warm.get(key)
        if warm is not None and len(warm) != problem.size:
            warm = None
        how = {"tol": self.tol, "warm": warm, "seed": self.seed, "block": self.block, "strict": False}
        pairs = top(MATRICES[self.of](problem), self.k, **how)
        problem.warm[key] = pairs.vectors
        facts = {"converged": pairs.converged, "products": pairs.products, "warm": warm is not None}
        settings = {**self.settings(), "examples": problem.batches.examples, **facts}
        return [
            Reading(
                name=f"{self.of}_lambda_{i + 1 if i else 'max'}",
                value=value,
                unit="loss/weight^2",
                settings={**settings, "bound": bound},
            )
            for i, (value, bound) in enumerate(zip(pairs.values.tolist(), pairs.bounds.tolist(), strict=True))
        ]
