"""Forgetting: the information about inputs that outputs lose when the weights are perturbed."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lowland.checks import at_least, fraction, one_of, whole
from lowland.measuring.ball import Ball
from lowland.measuring.class_outputs import class_outputs
from lowland.measuring.displaced import displaced, weights
from lowland.measuring.groups import after, groups
from lowland.measuring.output_bias import output_bias
from lowland.measuring.problem_measurement import ProblemMeasurement
from lowland.measuring.radii import radii
from lowland.measuring.slope import finite, slope
from lowland.observe.average import Average
from lowland.observe.reading import Reading
from lowland.operators.batch import Batch
from lowland.operators.problem import Problem
from lowland.seeds import generator

__all__ = ["Forgetting"]


@dataclass(frozen=True, kw_only=True)
class Forgetting(ProblemMeasurement):
    r"""What the outputs of n examples forget at :math:`w + e`, :math:`\|e\| = \rho`; the definition is ours.

    With probabilities :math:`p_i` before and :math:`q_i` after, the mean :math:`\bar p`, and the mean
    :math:`\bar p_y` over the examples of a class, all in nats:

    * ``forgetting``: the fall of :math:`I(X; \hat Y) = \frac{1}{n} \sum_i KL(p_i \| \bar p)`;
    * ``forgetting_given_label``: that of :math:`I(X; \hat Y | Y) = \frac{1}{n} \sum_i KL(p_i \| \bar p_{y_i})`,
      what outputs tell about inputs beyond the label;
    * ``nll_rise``: the rise of :math:`-\frac{1}{n} \sum_i \ln p_{i y_i}`;
    * ``divergence``: :math:`\frac{1}{n} \sum_i KL(p_i \| q_i)`.

    Settings state the first three ``before`` and ``after``. Standard errors are those of the paired differences,
    as the informations are means over examples to first order. Forgetting is negative where outputs tell more.

    Cost:
        One gradient (none for ``random``) and ``1 + radii`` forward passes.

    References:
        Vani, Tung, Oliveira, Sharifi, Forget sharpness: perturbed forgetting of model biases within SAM dynamics,
        2024, for the idea and the ``obf`` direction; the paper's own estimator was never released.
    """

    rho: float | tuple[float, ...] = 0.05
    """Length of the perturbation, >= 0, in units of the weights; several give readings each."""
    direction: Literal["gradient", "obf", "random"] = "gradient"
    """Along the gradient of the loss, as SAM goes; along that of output bias forgetting; or anywhere."""
    perturb_on: int | None = None
    """Number of first examples whose gradient it is; the others are then looked at. None: all for both."""
    gamma: float = 1.0
    """Of ``obf``: the largest alpha, >= 0 (see :func:`lowland.measuring.output_bias.output_bias`)."""
    lam: float | None = None
    """Of ``obf``: probability of the label up to which alpha is 0, in [0, 1); None: 1 / k."""
    seed: int = 0
    """Of the random direction."""

    def __post_init__(self) -> None:
        radii(self.rho)
        one_of("direction", self.direction, ["gradient", "obf", "random"])
        at_least("gamma", self.gamma, 0)
        whole("seed", self.seed, low=0)
        if self.lam is not None:
            fraction("lam", self.lam, one=False)
        if self.perturb_on is not None:
            whole("perturb_on", self.perturb_on)

    def read(self, problem: Problem) -> list[Reading]:
        """Four readings for each radius, in rising order."""
        w, g = weights(problem), self._direction(problem)
        log_p, labels = self._outputs(problem, w)
        found = [(rho, self._outputs(problem, w + Ball("l2", rho).furthest(g))[0]) for rho in radii(self.rho)]
        return [reading for rho, log_q in found for reading in self._readings(rho, log_p, log_q, labels)]

    def _direction(self, problem: Problem) -> Tensor:
        if self.direction == "random":
            draw = generator(self.seed, "forgetting")
            return torch.randn(problem.size, generator=draw, dtype=torch.float64).to(problem.device, problem.dtype)
        with problem.calm():
            examples = next(groups(problem, self.perturb_on))
            return slope(problem, examples, self._bias if self.direction == "obf" else None)[1]

    def _bias(self, batch: Batch, outputs: object) -> Tensor:
        return output_bias(*class_outputs(batch, outputs, "Forgetting"), self.gamma, self.lam)

    def _outputs(self, problem: Problem, w: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithms of probabilities (n, k), and labels (n,), of the examples that are looked at."""
        return displaced(problem, w, lambda: _outputs(problem, after(problem, self.perturb_on or 0)))

    def _readings(self, rho: float, log_p: Tensor, log_q: Tensor, labels: Tensor) -> list[Reading]:
        settings = {**self.settings(), "rho": rho, "examples": len(labels)}
        first, second = _of_examples(log_p, labels), _of_examples(log_q, labels)
        readings = [_reading("divergence", _divergence(log_p, log_q), settings)]
        for name, sign in SIGNS.items():
            ends = {"before": first[name].mean().item(), "after": second[name].mean().item()}
            readings.append(_reading(name, sign * (second[name] - first[name]), {**settings, **ends}))
        return readings


SIGNS = {"forgetting": -1, "forgetting_given_label": -1, "nll_rise": 1}
"""Whether a reading is what a quantity rises by, or what it falls by."""


def _of_examples(log_p: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Each example's share of the mutual informations and of the loss, of shape (n,)."""
    p = log_p.exp()
    classes = nn.functional.one_hot(labels, p.shape[1]).to(p)
    of_class = classes.T @ p / classes.sum(0).clamp(min=1)[:, None]
    return {
        "forgetting": _divergence(log_p, p.mean(0).log()),
        "forgetting_given_label": _divergence(log_p, of_class.log()[labels]),
        "nll_rise": -log_p.gather(1, labels[:, None])[:, 0],
    }


def _divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) of each example, where q is positive wherever p is."""
    p = log_p.exp()
    return torch.where(p > 0, p * (log_p - log_q), 0.0).sum(1)


def _outputs(problem: Problem, examples: Iterable[Batch]) -> tuple[Tensor, Tensor]:
    with problem.calm(), torch.no_grad():
        found = [class_outputs(batch, problem.outputs(batch), "Forgetting") for batch in examples]
    if not found:
        raise ValueError("perturb_on must leave examples to look at, got as many as there are.")
    finite(sum(scores.sum().item() for scores, _ in found))
    return torch.cat([scores.double().log_softmax(1) for scores, _ in found]), torch.cat([y for _, y in found])


def _reading(name: str, values: Tensor, settings: dict[str, Any]) -> Reading:
    average = Average()
    average.add(values)
    return Reading(name=name, value=average.mean, stderr=average.stderr, unit="nats", settings=settings)
