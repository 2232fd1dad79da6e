"""Weight rank: how many directions the weight matrices themselves use."""

from dataclasses import dataclass

import torch
from torch import nn

from lowland.checks import fraction
from lowland.observe.measurement import WeightMeasurement
from lowland.observe.ranks import ranks, several
from lowland.observe.reading import Reading
from lowland.observe.weights import Weight, weights

__all__ = ["WeightRank"]


@dataclass(frozen=True, kw_only=True)
class WeightRank(WeightMeasurement):
    r"""Ranks of every weight matrix W, from its singular values :math:`\sigma_i`; nothing is centred.

    * ``weight_rank``: the smallest k with :math:`\sum_{i \le k} \sigma_i^2 > p \sum_i \sigma_i^2`;
    * ``effective_rank_entropy``: :math:`H = -\sum_i q_i \ln q_i` with :math:`q_i = \sigma_i / \sum_j \sigma_j`;
    * ``effective_rank``: :math:`e^H`;
    * ``stable_rank``: :math:`\|W\|_F^2 / \|W\|_2^2`;
    * ``participation_ratio``: :math:`(\sum_i \lambda_i)^2 / \sum_i \lambda_i^2` with :math:`\lambda = \sigma^2`;
    * ``spectral_norm``: :math:`\|W\|_2 = \sigma_1`, in units of the weights.

    Kernels of convolutions are read as (out, in k k); the settings say the weight's own ``shape`` and that of the
    ``matrix`` (see :func:`lowland.observe.weights.weights`). The site is the name of the parameter. Ranks of zero
    matrices are 0.

    Cost:
        No pass: one singular value decomposition in float64 for each matrix, O(m n min(m, n)).

    References:
        Huh, Mobahi, Zhang, Cheung, Agrawal, Isola, The low-rank simplicity bias in deep networks, 2023, for the
        entropy, without exponential; Roy and Vetterli, The effective rank, 2007, for the exponential.
    """

    threshold: float | tuple[float, ...] = 0.99
    """Share p of the energy, in (0, 1); several give one ``weight_rank`` each."""
    layers: str | tuple[str, ...] | None = None
    """Names of layers whose weights are read, with all that is inside them; None: every weight matrix."""

    def __post_init__(self) -> None:
        for threshold in several(self.threshold):
            fraction("threshold", threshold, zero=False, one=False)

    def read(self, model: nn.Module) -> list[Reading]:
        """The ranks of every matrix."""
        return [reading for weight in weights(model, self.layers) for reading in self._readings(weight)]

    def _readings(self, weight: Weight) -> list[Reading]:
        sigma = torch.linalg.svdvals(weight.matrix.double())
        numbers = [*ranks(sigma, self.threshold, "weight_rank"), ("spectral_norm", sigma[0].item(), "", {})]
        settings = {**self.settings(), "shape": list(weight.shape), "matrix": list(weight.matrix.shape)}
        del settings["threshold"]
        return [
            Reading(name=name, site=weight.name, value=value, unit=unit, settings={**settings, **more})
            for name, value, unit, more in numbers
        ]
