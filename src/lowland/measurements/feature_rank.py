"""Feature rank: how many directions the features of a layer need."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor

from lowland.checks import fraction, one_of, whole
from lowland.observe.measurement import Batch, Measurement
from lowland.observe.pooled import POOLINGS, TOKENS, pooled
from lowland.observe.ranks import Number, alpha_req, rank_me, ranks, several
from lowland.observe.reading import Reading
from lowland.observe.spectrum import Spectrum

__all__ = ["FeatureRank"]


@dataclass(frozen=True, kw_only=True)
class FeatureRank(Measurement):
    r"""Ranks of the n x d feature matrix of every layer, from its singular values :math:`\sigma_i`.

    * ``feature_rank``: the smallest k with :math:`\sum_{i \le k} \sigma_i^2 > p \sum_i \sigma_i^2`;
    * ``effective_rank_entropy``: :math:`H = -\sum_i q_i \ln q_i` with :math:`q_i = \sigma_i / \sum_j \sigma_j`;
    * ``effective_rank``: :math:`e^H`, between 1 and min(n, d);
    * ``stable_rank``: :math:`\|A\|_F^2 / \|A\|_2^2`;
    * ``participation_ratio``: :math:`(\sum_i \lambda_i)^2 / \sum_i \lambda_i^2` with :math:`\lambda = \sigma^2`;
    * ``rank_me``: the effective rank with RankMe's :math:`q_i = \sigma_i / \sum_j \sigma_j + 10^{-7}`; the epsilon
      is its authors', who centre nothing (``centre="none"``);
    * ``alpha_req``: the decay :math:`\alpha` of :math:`\lambda_i \propto i^{-\alpha}`, by least squares of
      :math:`\ln \lambda_i` against :math:`\ln i` over the i of ``powers`` with :math:`\lambda_i > 0`; no reading
      where they are fewer than three.

    All but ``alpha_req`` are 0 if the features are zero. A feature rank is bounded by n and by d: compare models
    at equal n, on the same examples. One pass serves all layers, in memory that does not grow with n (see
    :class:`lowland.observe.spectrum.Spectrum`). Layers are read as in :func:`lowland.observe.features.features`.

    Cost:
        For each layer n d min(n, d) multiplications and one eigenvalue problem of side min(n, d); no gradients.

    Limits:
        Where both n and d are above ``limit``, features are sketched to ``limit`` columns, and the reading's
        settings say so (``sketched``). A sketched rank is too low: by up to a tenth where it is below limit / 8,
        by a quarter and more where it comes near ``limit``. Needs float64 on the device of the features. Padding
        is not told from other tokens: where it matters, use ``first``, or sequences of one length.

    References:
        Andriushchenko, Bahri, Mobahi, Flammarion, Sharpness-aware minimization leads to low-rank features, 2023.
        Roy and Vetterli, The effective rank, 2007.
        Garrido, Balestriero, Najman, LeCun, RankMe, 2023.
        Agrawal, Mondal, Ghosh, Richards, alpha-ReQ, 2022.
    """

    FEATURES: ClassVar[bool] = True

    threshold: float | tuple[float, ...] = 0.99
    """Share p of the energy, in (0, 1); several give one ``feature_rank`` each."""
    centre: Literal["feature", "example", "none"] = "feature"
    """What is taken off: each column's mean (principal components), each row's own mean over its features (what
    the paper's released code does), or nothing."""
    layers: str | tuple[str, ...] | None = None
    """Names of layers; None: the model's own choice, else every activation and layer with parameters."""
    pool: Literal["flatten", "mean", "first", "tokens"] = "flatten"
    """How features become rows: all of an example's, their mean over positions or tokens, token 0, or every
    position or token as a row by itself."""
    powers: tuple[int, int] = (11, 100)
    """First and last i of the line of ``alpha_req``; public implementations leave the first ten or so out."""
    limit: int = 8192
    """Largest side of an eigenvalue problem; beyond it features are sketched."""
    seed: int = 0
    """Seed of the sketch."""

    def __post_init__(self) -> None:
        for threshold in several(self.threshold):
            fraction("threshold", threshold, zero=False, one=False)
        one_of("centre", self.centre, ("feature", "example", "none"))
        one_of("pool", self.pool, (*POOLINGS, TOKENS))
        whole("limit", self.limit)
        if len(self.powers) != 2:
            raise ValueError(f"powers must be a first and a last i, got {self.powers}.")
        whole("the first of powers", self.powers[0])
        whole("the last of powers", self.powers[1], self.powers[0] + 2)

    def start(self, splits: tuple[str, ...]) -> "_Tally":
        """A fresh tally: one spectrum for each layer."""
        return _Tally(self)


@dataclass
class _Tally:
    measurement: FeatureRank
    layers: "dict[str, _Layer]" = field(default_factory=dict)

    def update(self, batch: Batch) -> None:
        if batch.site not in self.layers:
            self.layers[batch.site] = _Layer(self.measurement, batch.site)
        self.layers[batch.site].add(batch.values)

    def finish(self) -> list[Reading]:
        return [reading for layer in self.layers.values() for reading in layer.readings()]


class _Layer:
    """The features of one layer."""

    def __init__(self, measurement: FeatureRank, site: str) -> None:
        self.measurement, self.site = measurement, site
        self.spectrum = Spectrum(site, limit=measurement.limit, seed=measurement.seed)
        self.examples = 0

    def add(self, values: Tensor) -> None:
        rows = pooled(values, self.measurement.pool)
        self.examples += len(values)
        self.spectrum.add(_minus_own_mean(rows) if self.measurement.centre == "example" else rows)

    def readings(self) -> list[Reading]:
        settings = {**self.measurement.settings(), **self._facts()}
        del settings["threshold"]
        return [
            Reading(name=name, site=self.site, value=value, unit=unit, settings={**settings, **more})
            for name, value, unit, more in self._numbers()
        ]

    def _facts(self) -> dict[str, int | bool]:
        spectrum = self.spectrum
        sketched = spectrum.sketch is not None
        return {"examples": self.examples, "rows": spectrum.count, "width": spectrum.width, "sketched": sketched}

    def _numbers(self) -> list[Number]:
        m = self.measurement
        sigma = self.spectrum.singular_values(centre=m.centre == "feature")
        alpha = alpha_req(sigma, *m.powers)
        return [
            *ranks(sigma, m.threshold, "feature_rank"),
            ("rank_me", rank_me(sigma), "directions", {}),
            *([] if alpha is None else [("alpha_req", alpha, "", {})]),
        ]


def _minus_own_mean(rows: Tensor) -> Tensor:
    wide = rows.double()  # a float32 mean of large features would be off by a constant: one more direction
    return (wide - wide.mean(1, keepdim=True)).to(rows.dtype)
