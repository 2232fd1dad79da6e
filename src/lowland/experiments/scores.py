"""One run that asks only how good the trained network is."""

from torch import nn

from lowland.data.batches import in_order
from lowland.data.dataset import Dataset
from lowland.experiments.columns import columns
from lowland.experiments.training import Training, training_run
from lowland.measurements.accuracy import Accuracy
from lowland.measurements.calibration import Calibration
from lowland.measuring.measure import measure
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.train.recipe import Recipe
from lowland.types import Row

__all__ = ["score_run"]


def score_run(settings: Training, recipe: Recipe, cell: Cell, context: Context) -> list[Row]:
    """Train one network and measure it once, after the last epoch; no epoch is picked by its test error.

    Args:
        settings: What to train on.
        recipe: How to train.
        cell: What tells this run from the others, with its ``seed``; joins the row.
        context: Where to compute.

    Returns:
        One row: errors in percent, losses and calibration errors on training and test images; ``cost`` and
        ``diverged`` as :func:`lowland.experiments.training.training_run` has them.
    """
    return training_run(settings, recipe, cell, context, _look, {recipe.epochs})


def _look(model: nn.Module, data: Dataset, final: bool) -> Row:
    splits = {"train": in_order(data.train), "test": in_order(data.test)}
    return columns(measure(model, None, splits, [Accuracy(), Calibration()]))
