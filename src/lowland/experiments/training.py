"""One training run of a study of image classifiers: what to train on, and looks at the network on the way."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean
from time import perf_counter, process_time
from typing import Literal

import torch
from torch import nn

from lowland import catalog
from lowland.checks import one_of, whole
from lowland.data.augment import Augment
from lowland.data.batches import Batches
from lowland.data.dataset import Dataset
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.seeds import derive
from lowland.train.fit import fit
from lowland.train.history import History
from lowland.train.hooks import Moment
from lowland.train.keep import Keep
from lowland.train.recipe import Recipe
from lowland.types import Row

__all__ = ["Look", "Training", "check_training", "load_images", "training_run"]

Look = Callable[[nn.Module, Dataset, bool], Row]
"""Measures a network on its data; the last argument says whether training is over."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a study trains its image classifiers on, and how; its Config adds what it varies.

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

    def __post_init__(self) -> None:
        for name in ("train", "epochs", "batch"):
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


def check_training(settings: Training, methods: Iterable[str]) -> Dataset:
    """Refuse what would make every run fail: missing data, a class without images, wrong arguments of a spec.

    Returns:
        The data.

    Raises:
        FileNotFoundError: If the data is not on this machine.
        LookupError: If a name is unknown.
        TypeError: If a spec has an argument that there is not.
        ValueError: If an argument is out of its range.
    """
    for method in methods:
        settings.recipe(method)
    data = load_images(settings.data, settings.train)
    model: nn.Module = catalog.build("models", settings.model, shape=data.shape, classes=len(data.classes))
    for method in methods:
        settings.recipe(method).built().bind(model)
    return data


def training_run(
    settings: Training, recipe: Recipe, cell: Cell, context: Context, look: Look, due: Collection[int]
) -> list[Row]:
    """Train one network, and look at it after some of the epochs.

    The seed decides initialisation, order of the batches and augmentation; the data is the same for all seeds.
    Timed are ``training`` and ``measuring``, and on the CPU the seconds of ``processor`` that training took since
    the run was last begun, which depend little on what else the machine does.

    Args:
        settings: What to train on.
        recipe: How to train.
        cell: What tells this run from the others, with its ``seed``; joins every row.
        context: Where to compute, and who is told the seconds.
        look: What it returns joins the row of its epoch.
        due: After which epochs to look.

    Returns:
        A row per epoch that is due, the last of them with ``final``. ``classes`` is their number; ``cost`` counts
        the passes of a step so far, a forward pass without a backward as a third. A run that diverged ends in a
        row that says so and was not looked at.
    """
    seed = derive(int(str(cell["seed"])), "run")
    data = load_images(settings.data, settings.train).to(context.device)
    torch.manual_seed(derive(seed, "model"))
    model: nn.Module = catalog.build("models", settings.model, shape=data.shape, classes=len(data.classes))
    model.to(context.device)
    augment = Augment() if settings.augment else None
    batches = Batches(data.train, min(settings.batch, len(data.train)), seed=derive(seed, "data"), augment=augment)

    def hook(model: nn.Module, moment: Moment) -> Row | None:
        context.progress(moment.epoch / moment.epochs)
        if moment.row["diverged"] or moment.epoch not in due:
            return None
        started, busy = perf_counter(), process_time()
        found = look(model, data, moment.epoch == moment.epochs)
        context.timing("measuring", perf_counter() - started)
        aside.append(process_time() - busy)
        return found

    aside, began = [0.0], process_time()
    keep = Keep(folder=context.folder / "checkpoint")
    history = fit(model, batches, recipe, keep=keep, hooks=[hook], progress=False)
    context.timing("training", sum(history.seconds))
    if context.device == "cpu":
        context.timing("processor", process_time() - began - sum(aside))
    facts = {**cell, "classes": len(data.classes)}
    forwards = recipe.built().forwards / 3
    seen = [row for row in history.rows if row["epoch"] in due or row["diverged"]]
    return [
        {**facts, **row, "cost": _passes(history, row["epoch"]) + forwards, "final": row is history.last}
        for row in seen
    ]


@lru_cache(maxsize=2)
def load_images(spec: str, train: int) -> Dataset:
    """A data set with at most ``train`` training images."""
    name, _, arguments = catalog.parse(spec)
    most = catalog.load("data.sets", name).SIZES[0]
    return catalog.build("data.sets", spec, **({} if "train" in arguments else {"train": min(train, most)})).load()


def _passes(history: History, epoch: int) -> float:
    """Passes per step, mean over the epochs so far."""
    return fmean(row["passes"] for row in history.rows[:epoch])
