"""One run of a study of perturbed forgetting: train with a perturbation, and look at what outputs forget there."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from torch import nn

from lowland.checks import ascending, whole
from lowland.data.dataset import Split
from lowland.engine.method import Method
from lowland.experiments.training import Look, Training, training_run
from lowland.measurements.forgetting import Forgetting
from lowland.measuring.measure import measure
from lowland.methods.msam import MSAM
from lowland.methods.obf import OBF
from lowland.methods.random_perturbation import RandomPerturbation
from lowland.methods.sam import SAM
from lowland.methods.sgd import SGD
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.types import Row

__all__ = ["LABELS", "PERTURBATIONS", "Perturbed", "forgotten", "method_of", "over_training", "perturbed_run"]

PERTURBATIONS: Mapping[str, Mapping[str, Any]] = {
    "sam": {"direction": "gradient"},
    "obf_0": {"direction": "obf", "gamma": 0.0},
    "obf_1": {"direction": "obf", "gamma": 1.0},
    "random": {"direction": "random"},
}
"""Where each goes, as :class:`~lowland.measurements.forgetting.Forgetting` has it."""

LABELS = {"sgd": "SGD", "sam": "SAM", "obf_0": "OBF, gamma 0", "obf_1": "OBF, gamma 1", "random": "random step"}


@dataclass(frozen=True, kw_only=True)
class Perturbed(Training):
    """What studies of perturbations have in common; the other settings are those of all image studies.

    Attributes:
        model: A network, with its arguments; one without batch norm ascends in training as it is measured.
        rhos: Lengths of the perturbations, > 0, ascending.
        looks: How often a run is measured: after epochs evenly spread, the last included.
        seeds: Runs of every setting, from different initialisations; a verdict needs 3.
    """

    model: str = "mlp:widths=(128,128)"
    rhos: tuple[float, ...] = (0.05, 0.1, 0.2)
    looks: int = 5
    seeds: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("looks", self.looks)
        whole("seeds", self.seeds)
        ascending("rhos", self.rhos)

    @property
    def due(self) -> set[int]:
        """After which epochs to look."""
        return {max(1, round(self.epochs * (i + 1) / self.looks)) for i in range(self.looks)}


def method_of(name: str, rho: float, m: int | None = None) -> Method:
    """The method whose perturbation has this name, chosen by every ``m`` examples, or by the batch for None.

    Example:
        >>> method_of("obf_0", 0.1).method, method_of("sam", 0.1, m=8), method_of("sam", 0)
        (SAM(rho=0.1, p=2.0, per='model'), MSAM(rho=0.1, m=8), SGD())
    """
    if not rho:
        return SGD()
    if name == "random":
        return RandomPerturbation(rho=rho)
    ascent = SAM(rho=rho) if m is None else MSAM(rho=rho, m=m)
    gamma = PERTURBATIONS[name].get("gamma")
    return ascent if gamma is None else OBF(gamma=gamma, method=ascent)


def perturbed_run(settings: Perturbed, method: Method, cell: Cell, context: Context, look: Look) -> list[Row]:
    """Train one network with a method; a row per look. See :func:`lowland.experiments.training.training_run`."""
    recipe = replace(settings.recipe("sgd"), method=method)
    return training_run(settings, recipe, cell, context, look, settings.due)


def forgotten(
    model: nn.Module, parts: Iterable[Split], others: Split | None, name: str, rho: float
) -> dict[str, float]:
    """What is forgotten under a perturbation, mean over the parts that choose it, each by itself.

    Args:
        model: The network; its loss is cross-entropy, and it is looked at in evaluation mode.
        parts: Images whose gradient it is.
        others: Whose outputs are looked at; None are the part's own.
        name: One of :data:`PERTURBATIONS`.
        rho: Its length.

    Returns:
        The readings of :class:`~lowland.measurements.forgetting.Forgetting` by name, in nats.
    """
    found: dict[str, list[float]] = {}
    for i, part in enumerate(parts):
        chosen_on = None if others is None else len(part)
        what = Forgetting(rho=rho, perturb_on=chosen_on, seed=i, **PERTURBATIONS[name])
        batches = [(split.x, split.y) for split in (part, others) if split is not None]
        for reading in measure(model, nn.functional.cross_entropy, batches, what):
            found.setdefault(reading.name, []).append(reading.value)
    return {key: fmean(values) for key, values in found.items()}


def over_training(rows: Sequence[Row], per: Sequence[str] = ("method", "rho", "seed")) -> list[Row]:
    """One row per run: of columns with a slash the mean over its looks, of others what the last look has.

    Example:
        >>> run = {"method": "sam", "rho": 0.1, "seed": 0, "diverged": False}
        >>> over_training([{**run, "error": 9, "kl/own": 1.0}, {**run, "error": 2, "kl/own": 3.0}])[0]["kl/own"]
        2.0
    """
    runs: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        runs.setdefault(tuple(row[name] for name in per), []).append(row)
    return [_mean_of_looks(mine) for mine in runs.values()]


def _mean_of_looks(rows: Sequence[Row]) -> Row:
    last = rows[-1]
    if last["diverged"]:
        return last
    return {**last, **{name: fmean(row[name] for row in rows) for name in last if "/" in name}}
