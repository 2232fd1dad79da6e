"""Neural collapse: how far the features before a linear head have become one point for each class."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from lowland.observe.average import Average
from lowland.observe.class_scatter import ClassScatter
from lowland.observe.class_scores import class_scores
from lowland.observe.measurement import Batch, Measurement
from lowland.observe.reading import Reading

__all__ = ["NeuralCollapse"]

ROUNDING = 1e-12
"""What class means differ by less, relative to their size, is no difference."""

Number = tuple[str, float, dict[str, str]]
"""Name, value and settings of a reading."""


@dataclass(frozen=True, kw_only=True)
class NeuralCollapse(Measurement):
    r"""The four signs of neural collapse in the d features that a linear head with weights W is given.

    With the mean :math:`\mu_c` of each of the C classes that occur, their mean :math:`\mu`, the matrix M with rows
    :math:`\mu_c - \mu`, the covariance :math:`S_W` within classes (over all examples) and that between them,
    :math:`S_B = M^\top M / C`:

    * ``nc1``: :math:`\operatorname{tr}(S_W S_B^+) / C`, the variability within classes;
    * ``nc2_norms``: standard deviation over mean of the norms of rows, of M (``of`` = means) and of W (weights);
    * ``nc2_angles``: mean of :math:`|c + 1 / (C - 1)|` over the cosines c of pairs of rows, of M and of W;
    * ``nc3``: :math:`\| W / \|W\|_F - M / \|M\|_F \|_F`, between 0 and 2;
    * ``nc4``: share of examples whose class by the head is not that of the nearest :math:`\mu_c`, with its
      binomial standard error.

    All are 0 in full collapse. Of W only the rows of classes that occur are read; a class with a single example
    has no variability. Where all class means are one point, or W vanishes, what is then undefined has no reading.
    The published figures are of the training set.

    Cost:
        For each head d (C + d) numbers of memory and n d (C + d) multiplications, in float64, and the n d features
        for ``nc4``, whose centres are known only at the end.

    Limits:
        No more than d + 1 classes can have ``nc2_angles`` of 0.

    References:
        Papyan, Han, Donoho, Prevalence of neural collapse during the terminal phase of deep learning training,
        2020. Some implementations leave out the 1 / C, or square ``nc3``.
    """

    FEATURES: ClassVar[bool] = True

    layers: str | tuple[str, ...] | None = None
    """Names of linear heads; None: the model's last linear layer."""
    nearest: bool = True
    """Whether to measure ``nc4``; if not, memory does not grow with n."""

    def chosen(self, model: nn.Module) -> tuple[str, ...]:
        """The heads that were named, or the last linear layer.

        Raises:
            LookupError: If the model has no linear layer.
        """
        heads = [name for name, module in model.named_modules() if name and isinstance(module, nn.Linear)]
        named = super().chosen(model) or tuple(heads[-1:])
        if not named:
            raise LookupError("NeuralCollapse needs a linear layer inside the model, got none. Name a head.")
        return named

    def start(self, splits: tuple[str, ...]) -> "_Tally":
        """A fresh tally: the classes before each head."""
        return _Tally(self)


@dataclass
class _Tally:
    measurement: NeuralCollapse
    heads: "dict[str, _Head]" = field(default_factory=dict)

    def update(self, batch: Batch) -> None:
        scores, labels = class_scores(batch, "NeuralCollapse")
        rows, weight = _features(batch)
        if batch.site not in self.heads:
            self.heads[batch.site] = _Head(self.measurement, weight)
        self.heads[batch.site].add(rows, scores, labels)

    def finish(self) -> list[Reading]:
        return [reading for site, head in self.heads.items() for reading in head.readings(site)]


def _features(batch: Batch) -> tuple[Tensor, Tensor]:
    """What the head was given, (n, d), and its weights, (k, d), in float64.

    Raises:
        ValueError: If the layer is not linear, or was not given one row for each example.
    """
    if not isinstance(batch.layer, nn.Linear):
        raise ValueError(
            f"NeuralCollapse must read linear layers, got {type(batch.layer).__name__} at {batch.site!r}. "
            "Name the model's head with layers=."
        )
    if batch.given is None or batch.given.ndim != 2:
        shape = None if batch.given is None else tuple(batch.given.shape)
        raise ValueError(f"NeuralCollapse needs features of shape (n, d) before head {batch.site!r}, got {shape}.")
    return batch.given, batch.layer.weight.detach().double()


class _Head:
    """One head: its weights, the classes before it, and what it decided."""

    def __init__(self, measurement: NeuralCollapse, weight: Tensor) -> None:
        self.measurement, self.weight = measurement, weight
        self.scatter = ClassScatter(len(weight), weight.shape[1], weight.device)
        self.kept: list[tuple[Tensor, Tensor]] = []
        """Features and decisions of each batch."""

    def add(self, rows: Tensor, scores: Tensor, labels: Tensor) -> None:
        self.scatter.add(rows, labels)
        if self.measurement.nearest:
            self.kept.append((rows.clone(), scores.argmax(1)))

    def readings(self, site: str) -> list[Reading]:
        seen = self.scatter.counts > 0
        if seen.sum() < 2:
            raise ValueError(f"NeuralCollapse needs examples of 2 classes or more, got {int(seen.sum())}.")
        settings = {**self.measurement.settings(), **self._facts(seen)}
        found = [
            Reading(name=name, site=site, value=value, settings={**settings, **more})
            for name, value, more in _geometry(self.scatter, self.weight[seen])
        ]
        return [*found, self._mismatch(site, settings)] if self.measurement.nearest else found

    def _facts(self, seen: Tensor) -> dict[str, int]:
        counts = self.scatter.counts
        return {
            "examples": int(counts.sum()),
            "width": self.weight.shape[1],
            "classes": int(seen.sum()),
            "missing": int((~seen).sum()),
            "fewest": int(counts[seen].min()),
        }

    def _mismatch(self, site: str, settings: dict[str, object]) -> Reading:
        classes = (self.scatter.counts > 0).nonzero()[:, 0]
        centres = self.scatter.means[classes]
        wrong = Average()
        for rows, decided in self.kept:
            wrong.add(classes[_nearest(rows.double(), centres)] != decided)
        return Reading(
            name="nc4", site=site, value=wrong.mean, stderr=wrong.stderr, unit="fraction", settings=settings
        )


def _geometry(scatter: ClassScatter, W: Tensor) -> list[Number]:
    """The first three signs, as far as they are defined."""
    centres = scatter.means[scatter.counts > 0]
    M = centres - centres.mean(0)
    rounding = ROUNDING * centres.norm()
    apart, alive = bool(M.norm() > rounding), bool(W.any())
    found: list[Number] = []
    if apart:
        # The inverse of the covariance between classes is C times the square of this one, of shape (d, C).
        inverse = torch.linalg.pinv(M, atol=rounding, rtol=0.0)
        within = scatter.matrix / scatter.counts.sum()
        found += [("nc1", ((within @ inverse) * inverse).sum().item(), {}), *_simplex(M, "means")]
    if alive:
        found += _simplex(W, "weights")
    return [*found, ("nc3", (W / W.norm() - M / M.norm()).norm().item(), {})] if apart and alive else found


def _simplex(rows: Tensor, of: str) -> list[Number]:
    """How far the rows are from the corners of a regular simplex around the origin."""
    norms, unit = rows.norm(dim=1), normalize(rows)
    pairs = torch.tril_indices(len(rows), len(rows), -1)
    cosines = (unit @ unit.T)[pairs[0], pairs[1]]
    return [
        ("nc2_norms", (norms.std(correction=0) / norms.mean()).item(), {"of": of}),
        ("nc2_angles", (cosines + 1 / (len(rows) - 1)).abs().mean().item(), {"of": of}),
    ]


def _nearest(rows: Tensor, centres: Tensor) -> Tensor:
    """Index of the nearest centre, for each row; among equals the first."""
    middle = centres.mean(0)  # distances far from the origin would lose digits
    rows, centres = rows - middle, centres - middle
    return (rows @ centres.T - centres.square().sum(1) / 2).argmax(1)
