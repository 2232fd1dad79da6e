"""The Fisher information of the model's outputs, as a matrix of the size of the parameters."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from lowland.checks import one_of, whole
from lowland.operators.batch import Batch
from lowland.operators.curvature import Curvature
from lowland.operators.derivatives.engine import Engine, Square
from lowland.operators.gauss_newton import gauss_newton
from lowland.operators.likelihood import LIKELIHOODS, Likelihood
from lowland.operators.outputs import Outputs, refuse_inner_loss
from lowland.operators.problem import Problem
from lowland.operators.sandwich import Sandwich
from lowland.seeds import generator

__all__ = ["fisher"]


def fisher(
    problem: Problem,
    kind: Literal["type2", "mc", "empirical"] = "type2",
    *,
    likelihood: Literal["categorical", "bernoulli", "gaussian"] = "categorical",
    samples: int = 1,
    seed: int = 0,
) -> Curvature:
    r"""The mean over examples of :math:`J_i^\top \mathbb{E}[s s^\top] J_i`, s the loss's slope in the outputs.

    The loss is read as a negative log-likelihood, or a multiple of one, as when it averages over outputs too: the
    matrix then has the loss's units, and ``"mc"`` has the Gauss-Newton matrix as its expectation.

    Args:
        problem: What it is of; examples are the rows of the outputs, and each one's loss depends on its row alone.
        kind: ``"type2"`` takes the expectation in closed form, and is the Gauss-Newton matrix; ``"mc"`` draws
            targets from the model; ``"empirical"`` takes the data's, which is no expectation under the model.
        likelihood: What ``"mc"`` draws from, given the outputs: classes from logits (n, k) for cross-entropy,
            zeros and ones for binary cross-entropy with logits, numbers around the outputs for the squared error.
        samples: Draws for each example, of ``"mc"``.
        seed: Of the draws; the same in every product.

    Raises:
        TypeError: If ``samples`` is not whole.
        ValueError: If a name is unknown, or the loss is the model's own. A loss that is no multiple of the
            likelihood's is refused in the first product.
    """
    one_of("kind", kind, ["type2", "mc", "empirical"])
    one_of("likelihood", likelihood, LIKELIHOODS)
    whole("samples", samples)
    refuse_inner_loss(problem)
    if kind == "type2":
        return gauss_newton(problem)

    def part(problem: Problem, batch: Batch, engine: Engine) -> Square:
        outputs = Outputs(problem, batch)
        jacobian = engine.first(outputs.leaves, problem.weights)
        if kind == "empirical":
            return Sandwich(jacobian, _Outer([outputs.slopes()]))
        draw = generator(seed, "fisher", batch.index, device=problem.device)
        return Sandwich(jacobian, _drawn(outputs, LIKELIHOODS[likelihood], samples, draw))

    return Curvature(f"{kind} fisher", problem, part)


class _Outer:
    """The mean over draws, and over rows i, of outer products of the rows' own slopes, ``(n s_i)(n s_i)'``.

    Args:
        draws: For each draw the mean loss's slopes s, a tensor (n, ...) for each output that matters.
        factor: On the whole.
    """

    def __init__(self, draws: Sequence[Sequence[Tensor | None]], factor: float = 1.0) -> None:
        self.draws, self.factor = draws, factor / len(draws)

    def times(self, v: Sequence[Tensor]) -> list[Tensor]:
        total = [torch.zeros_like(part) for part in v]
        for slopes in self.draws:
            pairs = [(s, part) for s, part in zip(slopes, v, strict=True) if s is not None]
            along = torch.stack([(s * part).reshape(len(s), -1).sum(1) for s, part in pairs]).sum(0)  # (n,)
            for t, s in zip(total, slopes, strict=True):
                if s is not None:
                    t += self.factor * len(s) * along.view(-1, *[1] * (s.ndim - 1)) * s
        return total


def _drawn(outputs: Outputs, likelihood: Likelihood, samples: int, draw: torch.Generator) -> _Outer:
    """With targets from the model; the factor takes out that the loss may be a multiple c of the likelihood's.

    Raises:
        ValueError: If it is none.
    """
    z = outputs.only()
    targets = [likelihood.draw(z, draw) for _ in range(samples)]
    slopes = torch.stack([s for y in targets for s in outputs.slopes(y) if s is not None])
    plain = torch.stack([likelihood.slope(z, y) for y in targets]) / len(z)
    c = (slopes * plain).sum() / plain.square().sum().clamp(min=torch.finfo(z.dtype).tiny)
    if not (slopes - c * plain).norm() <= torch.finfo(z.dtype).eps ** 0.5 * 10 * slopes.norm():
        raise ValueError(
            f"The loss must be a multiple of the {likelihood.name} negative log-likelihood for targets to be "
            "drawn, got another one: choose likelihood=, or kind='type2'."
        )
    return _Outer([[s] for s in slopes], (1 / c).item() if c > 0 else 1.0)
