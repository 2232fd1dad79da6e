"""Feature rank: how many directions the features of a layer need."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from lowland.checks import fraction, one_of, whole
from lowland.observe.measurement import Batch, Measurement
from lowland.observe.pooled import POOLINGS, pooled
from lowland.observe.reading import Reading
from lowland.observe.spectrum import Spectrum

__all__ = ["FeatureRank", "effective_rank_entropy", "rank", "stable_rank"]

ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class FeatureRank(Measurement):
    r"""Ranks of the n x d feature matrix of every layer, from its singular values :math:`\sigma_i`.

    * ``feature_rank``: the smallest k with :math:`\sum_{i \le k} \sigma_i^2 > p \sum_i \sigma_i^2`;
    * ``effective_rank_entropy``: :math:`H = -\sum_i q_i \ln q_i` with :math:`q_i = \sigma_i / \sum_j \sigma_j`;
    * ``effective_rank``: :math:`e^H`, between 1 and min(n, d);
    * ``stable_rank``: :math:`\|A\|_F^2 / \|A\|_2^2`.

    All are 0 if the features are zero. A feature rank is bounded by n and by d: compare models at equal n, on the
    same examples. One pass serves all layers, in memory that does not grow with n (see
    :class:`lowland.observe.spectrum.Spectrum`). Layers are read as in :func:`lowland.observe.features.features`.

    Cost:
        For each layer n d min(n, d) multiplications and one eigenvalue problem of side min(n, d); no gradients.

    Limits:
        Where both n and d are above ``limit``, features are sketched to ``limit`` columns, and the reading's
        settings say so (``sketched``). A sketched rank is too low: by up to a tenth where it is below limit / 8,
        by a quarter and more where it comes near ``limit``. Needs float64 on the device of the features.

    References:
        Andriushchenko, Bahri, Mobahi, Flammarion, Sharpness-aware minimization leads to low-rank features, 2023.
        Roy and Vetterli, The effective rank, 2007.
    """

    FEATURES: ClassVar[bool] = True

    threshold: float | tuple[float, ...] = 0.99
    """Share p of the energy, in (0, 1); several give one ``feature_rank`` each."""
    centre: Literal["feature", "example", "none"] = "feature"
    """What is taken off: each column's mean (principal components), each row's own mean over its features (what
    the paper's released code does), or nothing."""
    layers: str | tuple[str, ...] | None = None
    """Names of layers; None: the model's own choice, else every activation and layer with parameters."""
    pool: Literal["flatten", "mean", "first"] = "flatten"
    """How features become a row: all of them, their mean over positions or tokens, or token 0."""
    limit: int = 8192
    """Largest side of an eigenvalue problem; beyond it features are sketched."""
    seed: int = 0
    """Seed of the sketch."""

    def __post_init__(self) -> None:
        for threshold in _several(self.threshold):
            fraction("threshold", threshold, zero=False, one=False)
        one_of("centre", self.centre, ("feature", "example", "none"))
        one_of("pool", self.pool, POOLINGS)
        whole("limit", self.limit)

    def start(self, splits: tuple[str, ...]) -> "_Tally":
        """A fresh tally: one spectrum for each layer."""
        return _Tally(self)


def rank(sigma: Tensor, threshold: float) -> int:
    r"""The smallest k with :math:`\sum_{i \le k} \sigma_i^2 > p \sum_i \sigma_i^2`; 0 if all vanish.

    A share that only reaches the threshold does not exceed it, as in the paper's code, which counts the shares up
    to and including it and adds one. Shares within 1e-9 of the threshold count as only reaching it, so that
    rounding does not decide.

    Args:
        sigma: Singular values in falling order, shape (k,).
        threshold: Share p of the energy, in (0, 1).

    Returns:
        The rank, at most k.

    Example:
        >>> rank(torch.tensor([3.0, 1.0]), 0.9), rank(torch.tensor([3.0, 1.0]), 0.89), rank(torch.zeros(2), 0.9)
        (2, 1, 0)
    """
    energy = sigma.double().square().cumsum(0)
    total = energy[-1].item()
    if total == 0:
        return 0
    reached = int((energy <= (threshold + ROUNDING) * total).sum())
    return min(reached + 1, len(sigma))


def effective_rank_entropy(sigma: Tensor) -> float:
    r"""Entropy :math:`-\sum_i q_i \ln q_i` of :math:`q = \sigma / \sum_j \sigma_j`, in nats; 0 if all vanish.

    Example:
        >>> round(effective_rank_entropy(torch.ones(10)), 4)
        2.3026
    """
    q = sigma.double() / sigma.double().sum().clamp(min=torch.finfo(torch.float64).tiny)
    return torch.special.entr(q).sum().item()


def stable_rank(sigma: Tensor) -> float:
    r""":math:`\sum_i \sigma_i^2 / \sigma_1^2`, between 1 and the rank; 0 if all vanish.

    Example:
        >>> stable_rank(torch.tensor([2.0, 1.0, 1.0]))
        1.5
    """
    largest = sigma.double().max().item() if len(sigma) else 0.0
    return (sigma.double() / largest).square().sum().item() if largest else 0.0


@dataclass
class _Tally:
    measurement: FeatureRank
    spectra: dict[str, Spectrum] = field(default_factory=dict)

    def update(self, batch: Batch) -> None:
        m = self.measurement
        rows = pooled(batch.values, m.pool)
        rows = _minus_own_mean(rows) if m.centre == "example" else rows
        if batch.site not in self.spectra:
            self.spectra[batch.site] = Spectrum(batch.site, limit=m.limit, seed=m.seed)
        self.spectra[batch.site].add(rows)

    def finish(self) -> list[Reading]:
        return [r for site, spectrum in self.spectra.items() for r in _readings(self.measurement, site, spectrum)]


def _several(threshold: float | Sequence[float]) -> tuple[float, ...]:
    return tuple(threshold) if isinstance(threshold, Sequence) else (threshold,)


def _minus_own_mean(rows: Tensor) -> Tensor:
    wide = (
        rows.double()
    )  # a float32 mean of large features would be off by a constant, which is one more direction
    return (wide - wide.mean(1, keepdim=True)).to(rows.dtype)


def _readings(m: FeatureRank, site: str, spectrum: Spectrum) -> list[Reading]:
    sigma = spectrum.singular_values(centre=m.centre == "feature")
    facts = {"examples": spectrum.count, "width": spectrum.width, "sketched": spectrum.sketch is not None}
    settings = {**m.settings(), **facts}
    entropy = effective_rank_entropy(sigma)
    numbers = [
        ("feature_rank", float(rank(sigma, p)), "directions", {"threshold": p}) for p in _several(m.threshold)
    ]
    numbers += [
        ("effective_rank_entropy", entropy, "nats", {}),
        ("effective_rank", math.exp(entropy) if sigma.any() else 0.0, "directions", {}),
        ("stable_rank", stable_rank(sigma), "directions", {}),
    ]
    settings.pop("threshold")
    return [
        Reading(name=name, site=site, value=value, unit=unit, settings={**settings, **more})
        for name, value, unit, more in numbers
    ]
