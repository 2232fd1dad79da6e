"""Hessian density: how the eigenvalues of the loss's Hessian are spread."""

from dataclasses import dataclass

from lowland.checks import whole
from lowland.estimate.density import density
from lowland.measuring.problem_measurement import ProblemMeasurement
from lowland.observe.reading import Reading
from lowland.operators.hessian import hessian
from lowland.operators.problem import Problem

__all__ = ["HessianDensity"]


@dataclass(frozen=True, kw_only=True)
class HessianDensity(ProblemMeasurement):
    r"""The spectral density of the Hessian, by stochastic Lanczos quadrature.

    * ``hessian_mean_eigenvalue``: the mean of all eigenvalues, which is the trace over the number of parameters;
      its settings hold the spectrum as weighted points, ``nodes`` and ``weights`` of each probe;
    * ``hessian_negative_least`` and ``hessian_negative_most``: bounds of the share of eigenvalues below zero, far
      apart where most are too near zero to tell; more ``steps`` bring them together;
    * ``hessian_outlier``: eigenvalues at both ends of the spectrum that are sure to a hundredth of themselves,
      from the same products, one reading each; ``bound`` in the settings says how near an eigenvalue is.

    Cost:
        ``probes * steps`` products with the Hessian; ``steps`` vectors of the size of the parameters.

    References:
        Ghorbani, Krishnan, Xiao, An investigation into neural net optimization via Hessian eigenvalue density,
        2019.
    """

    probes: int = 4
    """Random vectors, >= 2; the standard errors are over them."""
    steps: int = 32
    """Points that stand for the spectrum, for each of them."""
    seed: int = 0
    """Of the random vectors."""

    def __post_init__(self) -> None:
        whole("probes", self.probes, low=2)
        whole("steps", self.steps, low=2)
        whole("seed", self.seed, low=0)

    def read(self, problem: Problem) -> list[Reading]:
        """The mean, bounds of the share below zero, and what sticks out."""
        found = density(hessian(problem), self.probes, self.steps, self.seed)
        facts = {**self.settings(), "examples": problem.batches.examples, "products": found.products}
        points = {"nodes": found.nodes.tolist(), "weights": found.weights.tolist()}
        mean, outliers = found.moment(1), found.outliers(tol=0.01)
        return [
            Reading(
                name="hessian_mean_eigenvalue",
                value=mean.value,
                stderr=mean.stderr,
                unit="loss/weight^2",
                settings={**facts, **points},
            ),
            *(
                Reading(
                    name=f"hessian_negative_{end}",
                    value=share.value,
                    stderr=share.stderr,
                    unit="fraction",
                    settings=facts,
                )
                for end, share in zip(("least", "most"), found.negative(), strict=True)
            ),
            *(
                Reading(
                    name="hessian_outlier",
                    value=float(value),
                    unit="loss/weight^2",
                    settings={**facts, "bound": float(bound), "number": number},
                )
                for number, (value, bound) in enumerate(zip(outliers.values, outliers.bounds, strict=True))
            ),
        ]
