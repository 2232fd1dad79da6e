"""Linear probe: how well a linear classifier does on the features of a layer."""

import warnings
from collections import defaultdict
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from lowland.checks import at_least, one_of, whole
from lowland.observe.average import Average
from lowland.observe.class_scores import class_labels
from lowland.observe.measurement import Batch, Measurement
from lowland.observe.pooled import POOLINGS, pooled, refuse_other_width
from lowland.observe.reading import Reading

__all__ = ["LinearProbe", "probed_classes"]

TOLERANCE = 1e-6
"""Largest slope of the mean loss at which scikit-learn stops; smaller than its own, for the order of rows decides
nothing then."""


@dataclass(frozen=True, kw_only=True)
class LinearProbe(Measurement):
    r"""Accuracy ``probe_accuracy`` on one split of a logistic regression that was fitted on another.

    The features are standardised by the first split's means and standard deviations; the fit minimises
    :math:`\sum_i -\ln p_{y_i} + \tfrac{\lambda}{2} \|W\|^2`, which has one minimum, so no seed takes part. Labels
    come from the data, not from the model. The standard error is binomial over the second split; a class that the
    first split lacks is never right. Where the fit did not converge, ``converged`` in the settings is False.

    Cost:
        Keeps the features of both splits in the model's precision, and those of a layer at a time in float64;
        n d k multiplications for each of up to ``iterations`` steps of L-BFGS, for k classes, on the CPU.

    References:
        Alain and Bengio, Understanding intermediate layers using linear classifier probes, 2016.
    """

    SPLITS: ClassVar[tuple[str, ...]] = ("train", "test")
    FEATURES: ClassVar[bool] = True

    penalty: float = 1.0
    """Weight lambda of the squared norm against the summed loss, > 0; scikit-learn's C is 1 / lambda."""
    iterations: int = 1000
    """Most steps of the fit."""
    layers: str | tuple[str, ...] | None = None
    """Names of layers; None: the model's own choice, else every activation and layer with parameters."""
    pool: Literal["flatten", "mean", "first"] = "flatten"
    """How features become a row: all of them, their mean over positions or tokens, or token 0."""

    def __post_init__(self) -> None:
        at_least("penalty", self.penalty, 0.0)
        if self.penalty == 0:
            raise ValueError("penalty must be above 0, got 0. Separable data have no best classifier without.")
        whole("iterations", self.iterations)
        one_of("pool", self.pool, POOLINGS)

    def start(self, splits: tuple[str, ...]) -> "_Tally":
        """A fresh tally for the two splits."""
        return _Tally(self, splits)


def probed_classes(
    train: Tensor, labels: Tensor, queries: Tensor, *, penalty: float = 1.0, iterations: int = 1000
) -> tuple[Tensor, bool]:
    """The class that a logistic regression on standardised features gives each query.

    Args:
        train: Features (m, d).
        labels: Whole numbers (m,), of at least two classes.
        queries: Features (n, d).
        penalty: Weight of half the squared norm of the coefficients against the summed loss, > 0.
        iterations: Most steps of the fit.

    Returns:
        Labels of shape (n,) on the CPU, and whether the fit converged.

    Example:
        >>> train, labels = torch.tensor([[0.0], [1.0], [2.0], [3.0]]), torch.tensor([4, 4, 7, 7])
        >>> probed_classes(train, labels, torch.tensor([[-1.0], [2.5]]))
        (tensor([4, 7]), True)
    """
    scaler = StandardScaler()
    x = scaler.fit_transform(train.double().cpu().numpy())
    probe = LogisticRegression(C=1 / penalty, max_iter=iterations, tol=TOLERANCE)
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always", ConvergenceWarning)
        probe.fit(x, labels.cpu().numpy())
    converged = not any(issubclass(each.category, ConvergenceWarning) for each in raised)
    return torch.from_numpy(probe.predict(scaler.transform(queries.double().cpu().numpy()))), converged


@dataclass
class _Tally:
    measurement: LinearProbe
    splits: tuple[str, ...]
    features: defaultdict[tuple[str, str], list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    labels: defaultdict[tuple[str, str], list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    widths: dict[str, int] = field(default_factory=dict)

    def update(self, batch: Batch) -> None:
        where, rows = (batch.site, batch.split), pooled(batch.values, self.measurement.pool)
        refuse_other_width(batch.site, rows, self.widths.setdefault(batch.site, rows.shape[1]))
        self.labels[where].append(class_labels(batch, "LinearProbe"))
        self.features[where].append(rows.clone())

    def finish(self) -> list[Reading]:
        return [self._reading(site) for site in self.widths]

    def _reading(self, site: str) -> Reading:
        m = self.measurement
        labels, asked = (torch.cat(self.labels[site, split]) for split in self.splits)
        train, queries = (torch.cat(self.features[site, split]) for split in self.splits)
        if len(labels.unique()) < 2:
            raise ValueError(f"LinearProbe needs 2 classes or more in split {self.splits[0]!r}, got 1.")
        found, converged = probed_classes(train, labels, queries, penalty=m.penalty, iterations=m.iterations)
        right = Average()
        right.add(found == asked.cpu())
        facts = {"examples": len(asked), "train_examples": len(labels), "width": self.widths[site]}
        return Reading(
            name="probe_accuracy",
            site=site,
            value=right.mean,
            stderr=right.stderr,
            unit="fraction",
            settings={**m.settings(), **facts, "converged": converged},
        )
