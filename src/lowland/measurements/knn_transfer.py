"""k-nearest-neighbour transfer: how well features learned on one data set tell classes of another apart."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from lowland.checks import one_of, whole
from lowland.observe.average import Average
from lowland.observe.class_scores import class_labels
from lowland.observe.measurement import Batch, Measurement
from lowland.observe.pooled import POOLINGS, pooled, refuse_other_width
from lowland.observe.reading import Reading

__all__ = ["KnnTransfer", "knn_classes"]

BLOCK = 1024
"""Queries that are compared with the bank at once."""

TIE = 1e-6
"""Cosines that differ by less are equal, so that rounding and the order of the bank do not decide."""


@dataclass(frozen=True, kw_only=True)
class KnnTransfer(Measurement):
    """Accuracy ``knn_accuracy`` of a k-nearest-neighbour vote on a layer's features, by cosine.

    The vote is unweighted, equal votes go to the smallest label. Neighbours whose cosine equals that of the
    k-th (within 1e-6) vote too, so the order of the bank does not matter. The labels come from the data, not from
    the model, so bank and query may be of a data set that the model was not trained on.

    The standard error is binomial over the queries.

    Cost:
        Keeps the features of both splits; one product of (queries, d) with (d, bank) for each layer.

    References:
        Andriushchenko, Bahri, Mobahi, Flammarion, Sharpness-aware minimization leads to low-rank features, 2023.
    """

    SPLITS: ClassVar[tuple[str, ...]] = ("bank", "query")
    FEATURES: ClassVar[bool] = True

    k: int = 10
    """Number of neighbours; at most the examples of the bank."""
    layers: str | tuple[str, ...] | None = None
    """Names of layers; None: the model's own choice, else every activation and layer with parameters."""
    pool: Literal["flatten", "mean", "first"] = "flatten"
    """How features become a row: all of them, their mean over positions or tokens, or token 0."""

    def __post_init__(self) -> None:
        whole("k", self.k)
        one_of("pool", self.pool, POOLINGS)

    def start(self, splits: tuple[str, ...]) -> "_Tally":
        """A fresh tally for the two splits."""
        return _Tally(self, splits)


def knn_classes(bank: Tensor, labels: Tensor, queries: Tensor, k: int) -> Tensor:
    """The class that the k nearest rows of the bank vote for, for each query.

    Args:
        bank: Features (m, d), of any length; only directions matter.
        labels: Whole numbers (m,), at least 0.
        queries: Features (n, d).
        k: Number of neighbours, at most m.

    Returns:
        Labels of shape (n,).

    Example:
        >>> bank = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
        >>> knn_classes(bank, torch.tensor([0, 0, 5]), torch.tensor([[0.1, 2.0], [2.0, 0.0]]), k=1)
        tensor([5, 0])
    """
    known, index = labels.unique(return_inverse=True)
    bank, votes = normalize(bank), one_hot(index, len(known)).to(bank.dtype)
    return torch.cat([known[_votes(bank, votes, normalize(q), k).argmax(1)] for q in queries.split(BLOCK)])


def _votes(bank: Tensor, votes: Tensor, queries: Tensor, k: int) -> Tensor:
    cosine = queries @ bank.T
    nearest = cosine.topk(k, dim=1).values[:, -1:]
    return (cosine >= nearest - TIE).to(votes.dtype) @ votes


@dataclass
class _Tally:
    measurement: KnnTransfer
    splits: tuple[str, ...]
    features: defaultdict[tuple[str, str], list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    labels: defaultdict[tuple[str, str], list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    widths: dict[str, int] = field(default_factory=dict)

    def update(self, batch: Batch) -> None:
        where, rows = (batch.site, batch.split), pooled(batch.values, self.measurement.pool)
        refuse_other_width(batch.site, rows, self.widths.setdefault(batch.site, rows.shape[1]))
        self.labels[where].append(class_labels(batch, "KnnTransfer"))
        self.features[where].append(rows.clone())

    def finish(self) -> list[Reading]:
        return [self._reading(site) for site in self.widths]

    def _reading(self, site: str) -> Reading:
        bank, query = (torch.cat(self.labels[site, split]) for split in self.splits)
        known, asked = (torch.cat(self.features[site, split]) for split in self.splits)
        if len(bank) < self.measurement.k:
            raise ValueError(f"k must be at most the {len(bank)} examples of the bank, got {self.measurement.k}.")
        right = Average()
        right.add(knn_classes(known, bank, asked, self.measurement.k) == query)
        facts = {"examples": len(query), "bank_examples": len(bank), "width": known.shape[1]}
        return Reading(
            name="knn_accuracy",
            site=site,
            value=right.mean,
            stderr=right.stderr,
            unit="fraction",
            settings={**self.measurement.settings(), **facts},
        )
