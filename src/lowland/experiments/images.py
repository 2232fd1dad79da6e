"""One run of an image study: train a network with a method, and look at every layer on the way."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import nn

from lowland import catalog
from lowland.checks import whole
from lowland.data.batches import in_order
from lowland.data.dataset import Dataset, Split
from lowland.experiments.columns import columns
from lowland.experiments.training import Training, check_training, load_images, training_run
from lowland.measurements.accuracy import Accuracy
from lowland.measurements.activation_sparsity import ActivationSparsity
from lowland.measurements.calibration import Calibration
from lowland.measurements.feature_rank import FeatureRank
from lowland.measurements.knn_transfer import KnnTransfer
from lowland.measurements.train_test_gap import TrainTestGap
from lowland.measuring.measure import measure
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.train.recipe import Recipe
from lowland.types import Batches as Pairs
from lowland.types import Row

__all__ = ["Images", "check_images", "image_run", "look_epochs"]

WIDEST = 16384
TRANSFER_IMAGES = 6000
NEIGHBOURS = {"fashion-mnist": "mnist", "mnist": "fashion-mnist", "cifar10": "cifar100", "cifar100": "cifar10"}


@dataclass(frozen=True, kw_only=True)
class Images(Training):
    """Settings of studies that look at every layer; the others are those of all image studies.

    Attributes:
        examples: The most training images that ranks and densities are measured on; ranks compare at equal number.
        looks: How often a run is measured: after epochs spread evenly in their logarithm, the last included.
        transfer: The other data that nearest neighbours are sought in: a data set; ``turned``, the same images
            turned by 90 degrees; ``auto``, the set that goes with ``data``, or ``turned`` where there is none.
    """

    examples: int = 2000
    looks: int = 5
    transfer: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("examples", self.examples)
        whole("looks", self.looks)


def check_images(settings: Images, methods: Iterable[str]) -> None:
    """Refuse what would make every run fail; see :func:`lowland.experiments.training.check_training`."""
    _transfer(settings, check_training(settings, methods))


def image_run(settings: Images, recipe: Recipe, cell: Cell, context: Context, often: bool = False) -> list[Row]:
    """Train one network and measure it; see :func:`lowland.experiments.training.training_run`.

    Args:
        settings: What to train on and how to measure.
        recipe: How to train.
        cell: What tells this run from the others, with its ``seed``; joins every row.
        context: Where to compute.
        often: Look after every epoch instead of ``settings.looks`` times.

    Returns:
        A row per look. Errors are in percent; ``rank/NAME`` and so on belong to the layer NAME.
    """

    def look(model: nn.Module, data: Dataset, final: bool) -> Row:
        return _look(model, _splits(settings, data), final)

    due = set(range(1, recipe.epochs + 1)) if often else look_epochs(recipe.epochs, settings.looks)
    return training_run(settings, recipe, cell, context, look, due)


def look_epochs(epochs: int, looks: int) -> set[int]:
    """After which epochs to look: the last, and others evenly spread in their logarithm.

    Example:
        >>> sorted(look_epochs(20, 5))
        [1, 2, 4, 9, 20]
    """
    if looks == 1:
        return {epochs}
    return {max(1, round(epochs ** (i / (looks - 1)))) for i in range(looks)}


def _splits(settings: Images, data: Dataset) -> dict[str, Pairs]:
    train = data.train.take(min(settings.examples, len(data.train)))
    bank, query = _transfer(settings, data)
    found = {"train": train, "test": data.test, "bank": bank, "query": query}
    return {name: in_order(split) for name, split in found.items()}


def _transfer(settings: Images, data: Dataset) -> tuple[Split, Split]:
    name = catalog.parse(settings.data)[0].replace("_", "-")
    other = NEIGHBOURS.get(name, "turned") if settings.transfer == "auto" else settings.transfer
    source = data if other == "turned" else load_images(other, TRANSFER_IMAGES).to(data.train.x.device)
    parts = [part.take(min(settings.examples, len(part))) for part in (source.train, source.test)]
    if other == "turned":
        parts = [Split(part.x.rot90(1, (2, 3)), part.y) for part in parts]
    return parts[0], parts[1]


def _look(model: nn.Module, splits: Mapping[str, Pairs], final: bool) -> Row:
    seen = [
        FeatureRank(on="train", limit=WIDEST),
        ActivationSparsity(on="train", duplicates=0.95 if final else None),
        Accuracy(on=("train", "test")),
        Calibration(on=("train", "test")),
    ]
    readings = measure(model, None, splits, [*seen, TrainTestGap(), KnnTransfer()] if final else seen)
    return columns(readings)
