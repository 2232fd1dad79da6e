"""One training run of a model that a study has made itself."""

from collections.abc import Callable
from time import perf_counter

from torch import nn

from lowland.data.batches import Batches
from lowland.data.dataset import Dataset
from lowland.experiments.training import Training
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.seeds import derive
from lowland.train.fit import fit
from lowland.train.hooks import Moment
from lowland.train.keep import Keep
from lowland.train.recipe import Recipe
from lowland.types import Row

__all__ = ["model_run"]


def model_run(
    model: nn.Module,
    data: Dataset,
    settings: Training,
    recipe: Recipe,
    cell: Cell,
    context: Context,
    look: Callable[[nn.Module, bool], Row | None],
) -> list[Row]:
    """Train a model and look at it after every epoch; see :func:`lowland.experiments.training.training_run`.

    Args:
        model: What to train, changed in place.
        data: On any device; its training images are used.
        settings: Whose ``batch`` counts.
        recipe: How to train.
        cell: What tells this run from the others, with its ``seed`` for the order of the batches; joins every row.
        context: Where to compute, and who is told the seconds.
        look: Given the model and whether training is over; what it returns joins the row of the epoch.

    Returns:
        A row per epoch, the last with ``final``; where training diverged it says so and was not looked at.
    """

    def hook(model: nn.Module, moment: Moment) -> Row | None:
        context.progress(moment.epoch / moment.epochs)
        if moment.row["diverged"]:
            return None
        started = perf_counter()
        found = look(model, moment.epoch == moment.epochs)
        context.timing("measuring", perf_counter() - started)
        return found

    train = data.to(context.device).train
    batches = Batches(train, min(settings.batch, len(train)), seed=derive(int(str(cell["seed"])), "data"))
    keep = Keep(folder=context.folder / "checkpoint")
    history = fit(model.to(context.device), batches, recipe, keep=keep, hooks=[hook], progress=False)
    context.timing("training", sum(history.seconds))
    return [{**cell, **row, "final": row is history.last} for row in history.rows]
