"""One run of an image study: train a network with a method, and look at every layer on the way."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import nn

from lowland import catalog
from lowland.checks import one_of, whole
from lowland.data.augment import Augment
from lowland.data.batches import Batches, in_order
from lowland.data.dataset import Dataset, Split
from lowland.measurements.accuracy import Accuracy
from lowland.measurements.activation_sparsity import ActivationSparsity
from lowland.measurements.calibration import Calibration
from lowland.measurements.feature_rank import FeatureRank
from lowland.measurements.knn_transfer import KnnTransfer
from lowland.measurements.train_test_gap import TrainTestGap
from lowland.observe.measure import measure
from lowland.observe.reading import Reading
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.seeds import derive
from lowland.train.fit import fit
from lowland.train.hooks import Moment
from lowland.train.keep import Keep
from lowland.train.recipe import Recipe
from lowland.types import Batches as Pairs
from lowland.types import Row

__all__ = ["Images", "check_images", "image_run", "look_epochs"]

WIDEST = 16384
TRANSFER_IMAGES = 6000
NEIGHBOURS = {"fashion-mnist": "mnist", "mnist": "fashion-mnist", "cifar10": "cifar100", "cifar100": "cifar10"}


@dataclass(frozen=True, kw_only=True)
class Images:
    """Settings that all studies of image classifiers share; their Config adds what it varies.

    Attributes:
        data: A data set, with its arguments: ``digits``, ``fashion-mnist:label_noise=0.2``.
        model: A network, with its arguments: ``conv``, ``resnet:depth=10,width=16``.
        train: The most training images to take.
        epochs: Passes over the training images.
        batch: Images per step.
        learning_rate: The highest of its schedule.
        momentum: Of SGD.
        weight_decay: On all parameters.
        schedule: ``constant``, ``cosine`` or ``steps``.
        augment: Random crops and flips of the training images.
        examples: The most training images that ranks and densities are measured on; ranks compare at equal number.
        looks: How often a run is measured: after epochs spread evenly in their logarithm, the last included.
        transfer: The other data that nearest neighbours are sought in: a data set; ``turned``, the same images
            turned by 90 degrees; ``auto``, the set that goes with ``data``, or ``turned`` where there is none.
    """

    data: str = "digits"
    model: str = "conv"
    train: int = 6000
    epochs: int = 20
    batch: int = 64
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Literal["constant", "cosine", "steps"] = "cosine"
    augment: bool = False
    examples: int = 2000
    looks: int = 5
    transfer: str = "auto"

    def __post_init__(self) -> None:
        for name in ("train", "epochs", "batch", "examples", "looks"):
            whole(name, getattr(self, name))
        one_of("schedule", self.schedule, ["constant", "cosine", "steps"])
        catalog.module("data.sets", catalog.parse(self.data)[0])
        catalog.module("models", catalog.parse(self.model)[0])

    def recipe(self, method: str) -> Recipe:
        """How to train with ``method``."""
        return Recipe(
            method=method,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
        )


def check_images(settings: Images, methods: Iterable[str]) -> None:
    """Refuse what would make every run fail: missing data, a class without images, wrong arguments of a spec.

    Raises:
        FileNotFoundError: If the data is not on this machine.
        LookupError: If a name is unknown.
        TypeError: If a spec has an argument that there is not.
        ValueError: If an argument is out of its range.
    """
    for method in methods:
        settings.recipe(method)
    data = _data(settings.data, settings.train)
    model: nn.Module = catalog.build("models", settings.model, shape=data.shape, classes=len(data.classes))
    for method in methods:
        settings.recipe(method).built().bind(model)
    _transfer(settings, data)


def image_run(settings: Images, recipe: Recipe, cell: Cell, context: Context, often: bool = False) -> list[Row]:
    """Train one network and measure it.

    The seed decides initialisation, order of the batches and augmentation; the data is the same for all seeds.

    Args:
        settings: What to train on and how to measure.
        recipe: How to train.
        cell: What tells this run from the others, with its ``seed``; joins every row.
        context: Where to compute.
        often: Look after every epoch instead of ``settings.looks`` times.

    Returns:
        A row per look, the last of them with ``final``. Errors are in percent; ``rank/NAME`` and so on belong to
        the layer NAME. A run that diverged ends in a row that says so and measures nothing.
    """
    seed = derive(int(str(cell["seed"])), "run")
    data = _data(settings.data, settings.train).to(context.device)
    torch.manual_seed(derive(seed, "model"))
    model: nn.Module = catalog.build("models", settings.model, shape=data.shape, classes=len(data.classes))
    model.to(context.device)
    augment = Augment() if settings.augment else None
    batches = Batches(data.train, min(settings.batch, len(data.train)), seed=derive(seed, "data"), augment=augment)
    due = set(range(1, recipe.epochs + 1)) if often else look_epochs(recipe.epochs, settings.looks)
    splits = _splits(settings, data)

    def look(model: nn.Module, moment: Moment) -> Row | None:
        context.progress(moment.epoch / moment.epochs)
        if moment.row["diverged"] or moment.epoch not in due:
            return None
        started = time.perf_counter()
        found = _look(model, splits, final=moment.epoch == moment.epochs)
        context.timing("measuring", time.perf_counter() - started)
        return found

    keep = Keep(folder=context.folder / "checkpoint")
    history = fit(model, batches, recipe, keep=keep, hooks=[look], progress=False)
    context.timing("training", sum(history.seconds))
    seen = [row for row in history.rows if row["epoch"] in due or row["diverged"]]
    facts = {"classes": len(data.classes)}
    return [{**cell, **facts, **row, "final": row is history.last} for row in seen]


def look_epochs(epochs: int, looks: int) -> set[int]:
    """After which epochs to look: the last, and others evenly spread in their logarithm.

    Example:
        >>> sorted(look_epochs(20, 5))
        [1, 2, 4, 9, 20]
    """
    if looks == 1:
        return {epochs}
    return {max(1, round(epochs ** (i / (looks - 1)))) for i in range(looks)}


@lru_cache(maxsize=2)
def _data(spec: str, train: int) -> Dataset:
    name, _, arguments = catalog.parse(spec)
    most = catalog.load("data.sets", name).SIZES[0]
    return catalog.build("data.sets", spec, **({} if "train" in arguments else {"train": min(train, most)})).load()


def _splits(settings: Images, data: Dataset) -> dict[str, Pairs]:
    train = data.train.take(min(settings.examples, len(data.train)))
    bank, query = _transfer(settings, data)
    found = {"train": train, "test": data.test, "bank": bank, "query": query}
    return {name: in_order(split) for name, split in found.items()}


def _transfer(settings: Images, data: Dataset) -> tuple[Split, Split]:
    name = catalog.parse(settings.data)[0].replace("_", "-")
    other = NEIGHBOURS.get(name, "turned") if settings.transfer == "auto" else settings.transfer
    source = data if other == "turned" else _data(other, TRANSFER_IMAGES).to(data.train.x.device)
    parts = [part.take(min(settings.examples, len(part))) for part in (source.train, source.test)]
    if other == "turned":
        parts = [Split(part.x.rot90(1, (2, 3)), part.y) for part in parts]
    return parts[0], parts[1]


def _look(model: nn.Module, splits: Mapping[str, Pairs], final: bool) -> dict[str, Any]:
    seen = [
        FeatureRank(on="train", limit=WIDEST),
        ActivationSparsity(on="train", duplicates=0.95 if final else None),
        Accuracy(on=("train", "test")),
        Calibration(on=("train", "test")),
    ]
    readings = measure(model, splits, [*seen, TrainTestGap(), KnnTransfer()] if final else seen)
    return dict(pair for reading in readings for pair in _columns(reading))


def _columns(reading: Reading) -> list[tuple[str, float]]:
    """The reading under the name that rows use, if rows keep it."""
    split = reading.settings["split"]
    site = f"/{reading.site}" if reading.site else ""
    kept = {
        "feature_rank": "rank",
        "effective_rank": "effective_rank",
        "stable_rank": "stable_rank",
        "density": "density",
        "dead_units": "dead_units",
        "distinct_units": "distinct_units",
        "nll": f"{split}_loss",
        "ece": f"{split}_ece",
        "loss_gap": "loss_gap",
    }
    if reading.name in kept:
        return [(kept[reading.name] + site, reading.value)]
    if reading.name == "accuracy":
        return [(f"{split}_error", 100 * (1 - reading.value))]
    return [(f"knn_error{site}", 100 * (1 - reading.value))] if reading.name == "knn_accuracy" else []
