"""Activation sparsity: how many units of a layer are in use, on how many examples, and how many are copies."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor

from lowland.checks import at_least, fraction, one_of
from lowland.observe.average import Average
from lowland.observe.measurement import Batch, Measurement
from lowland.observe.pooled import POOLINGS, pooled, refuse_other_width
from lowland.observe.reading import Reading
from lowland.observe.scatter import Scatter

__all__ = ["ActivationSparsity", "distinct"]

CHUNK = 512
"""Examples that are multiplied at once for the correlations."""

LIMIT = 4096
"""Widest layer in which copies are looked for."""

ROUNDING = 8
"""A unit is constant if it spreads by no more than this many roundings of its mean."""

Number = tuple[str, float, str, float | None, dict[str, float]]
"""Name, value, unit, standard error and settings of a reading."""

DEFINITIONS = ("value", "magnitude", "share_of_max")


@dataclass(frozen=True, kw_only=True)
class ActivationSparsity(Measurement):
    r"""Use of the d units of every layer over n examples, where a unit is one column of the n x d features.

    A unit is active on an example if its value exceeds the threshold.

    * ``density``: share of the n d values that are active;
    * ``active_units``: units active on more than a share q of the examples, for each q in ``levels``;
    * ``dead_units``: units active on no example;
    * ``duplicate_units``: units that are neither dead nor constant and are dropped, one after the other in order,
      because their correlation with a remaining such unit exceeds ``duplicates`` in absolute value;
    * ``distinct_units``: d - dead - duplicate;
    * ``distinct_density``: density over the units that are not duplicates.

    ``density`` has the standard error of a mean over examples.

    Cost:
        d^2 numbers of memory and n d^2 multiplications for the duplicates, for layers of up to 4096 units; wider
        layers have no readings of copies (``duplicates`` is None in their settings). ``share_of_max`` keeps all
        features; otherwise memory does not grow with n.

    References:
        Andriushchenko, Bahri, Mobahi, Flammarion, Sharpness-aware minimization leads to low-rank features, 2023.
    """

    FEATURES: ClassVar[bool] = True

    threshold: float = 0.0
    """What a value must exceed to be active; in units of the features, or a share of their maximum."""
    definition: Literal["value", "magnitude", "share_of_max"] = "value"
    """``value``: h > threshold (ReLU); ``magnitude``: abs(h) > threshold (tanh); ``share_of_max``:
    h > threshold * the largest value of the layer."""
    levels: tuple[float, ...] = (0.0, 0.01, 0.05, 0.1)
    """Shares q of the examples for ``active_units``, in [0, 1)."""
    duplicates: float | None = 0.95
    """Correlation beyond which a unit is a copy of another, in (0, 1]; None looks for no copies."""
    layers: str | tuple[str, ...] | None = None
    """Names of layers; None: the model's own choice, else every activation and layer with parameters."""
    pool: Literal["flatten", "mean", "first"] = "flatten"
    """How features become a row: all of them, their mean over positions or tokens, or token 0."""

    def __post_init__(self) -> None:
        at_least("threshold", self.threshold, 0.0)
        one_of("definition", self.definition, DEFINITIONS)
        one_of("pool", self.pool, POOLINGS)
        for level in self.levels:
            fraction("levels", level, one=False)
        if self.duplicates is not None:
            fraction("duplicates", self.duplicates, zero=False)

    @classmethod
    def as_published(cls, **others: Any) -> Self:  # noqa: ANN401 - the other fields
        """As the paper counts the active ReLUs of a residual net: above a twentieth of the layer's maximum."""
        return cls(**{"threshold": 0.05, "definition": "share_of_max", **others})

    def start(self, splits: tuple[str, ...]) -> "_Tally":
        """A fresh tally: counts and a scatter matrix for each layer."""
        return _Tally(self)


def distinct(correlation: Tensor, threshold: float) -> Tensor:
    """Which units remain when copies are dropped one after the other, in order.

    Unit i goes if its correlation with a remaining unit exceeds the threshold in absolute value, so of a group
    of copies the last remains.

    Args:
        correlation: Shape (d, d), symmetric; only the lower triangle is read; nan is no correlation.
        threshold: In (0, 1].

    Returns:
        True for units that remain, shape (d,), on the CPU.

    Example:
        >>> distinct(torch.tensor([[1.0, 0.0, 0.0], [-0.99, 1.0, 0.0], [0.5, 0.5, 1.0]]), 0.95)
        tensor([False,  True,  True])
    """
    copies = (correlation.abs() > threshold).cpu().tril(-1)
    copies |= copies.T.clone()
    remaining = copies.any(1)
    for i in remaining.nonzero()[:, 0].tolist():
        remaining[i] = not (copies[i] & remaining).any()
    return remaining | ~copies.any(1)


@dataclass
class _Tally:
    measurement: ActivationSparsity
    units: "dict[str, _Units]" = field(default_factory=dict)

    def update(self, batch: Batch) -> None:
        rows = pooled(batch.values, self.measurement.pool)
        if batch.site not in self.units:
            self.units[batch.site] = _Units(self.measurement, rows.shape[1], rows.device)
        refuse_other_width(batch.site, rows, self.units[batch.site].width)
        self.units[batch.site].add(rows)

    def finish(self) -> list[Reading]:
        return [reading for site, units in self.units.items() for reading in units.readings(site)]


class _Units:
    """The units of one layer."""

    def __init__(self, measurement: ActivationSparsity, width: int, device: torch.device) -> None:
        self.measurement, self.width = measurement, width
        self.active = torch.zeros(width, dtype=torch.float64, device=device)
        """On how many examples each unit is active."""
        self.density = Average()
        self.kept: list[Tensor] = []
        self.pending: list[Tensor] = []
        seeks = measurement.duplicates is not None and width <= LIMIT
        self.scatter = Scatter(width, device) if seeks else None
        self.eps = 0.0

    def add(self, rows: Tensor) -> None:
        self.eps = torch.finfo(rows.dtype).eps
        if self.measurement.definition == "share_of_max":
            self.kept.append(rows.clone())
        else:
            self._count(rows, self.measurement.threshold)
        self.pending += [rows.clone()] if self.scatter else []
        if sum(map(len, self.pending)) >= CHUNK:
            self._fold()

    def readings(self, site: str) -> list[Reading]:
        self._count_kept()
        facts = {"examples": self.density.count, "width": self.width}
        settings = {**self.measurement.settings(), **facts}
        del settings["levels"]
        if self.scatter is None:
            settings["duplicates"] = None
        return [
            Reading(name=name, site=site, value=value, unit=unit, stderr=error, settings={**settings, **more})
            for name, value, unit, error, more in [*self._use(), *self._copies()]
        ]

    def _use(self) -> Iterator[Number]:
        """How many units are in use, copies or not."""
        yield "density", self.density.mean, "fraction", self.density.stderr, {}
        for level in self.measurement.levels:
            active = self.active > level * self.density.count
            yield "active_units", float(active.sum()), "units", None, {"level": level}
        yield "dead_units", float((self.active == 0).sum()), "units", None, {}

    def _copies(self) -> Iterator[Number]:
        """How many units are copies; nothing for layers too wide to tell."""
        if self.scatter is None:
            return
        self._fold()
        dead = self.active == 0
        copies = self._dropped(self.scatter, dead)
        density = self.active[~copies].mean().item() / self.density.count
        yield "duplicate_units", float(copies.sum()), "units", None, {}
        yield "distinct_units", float((~dead & ~copies).sum()), "units", None, {}
        yield "distinct_density", density, "fraction", None, {}

    def _dropped(self, scatter: Scatter, dead: Tensor) -> Tensor:
        """Which units go as copies; a dead or constant unit correlates with nothing, so it stays."""
        spread = scatter.matrix.diagonal()
        constant = (spread / scatter.count).sqrt() <= ROUNDING * self.eps * scatter.mean.abs()
        scale = spread.rsqrt().masked_fill(dead | constant, 0.0)
        correlation = scale[:, None] * scatter.matrix * scale
        return ~distinct(correlation, self.measurement.duplicates or 1.0).to(dead.device)

    def _count(self, rows: Tensor, threshold: float | Tensor) -> None:
        size = rows.abs() if self.measurement.definition == "magnitude" else rows
        active = (size > threshold).to(rows.dtype)
        self.active += active.sum(0)
        self.density.add(active.mean(1))

    def _count_kept(self) -> None:
        if self.kept:
            rows = torch.cat(self.kept)
            self._count(rows, self.measurement.threshold * rows.max())
            self.kept = []

    def _fold(self) -> None:
        if self.scatter is not None and self.pending:
            self.scatter.add(torch.cat(self.pending))
            self.pending = []
