"""Networks for images, by plain SGD with large steps for a share of training, then small ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.optim.lr_scheduler import LambdaLR

from lowland.data.batches import in_order
from lowland.data.dataset import Split
from lowland.experiments.beginning import Beginning, begin
from lowland.experiments.columns import columns
from lowland.experiments.large_steps import FITTED, SMALL
from lowland.experiments.training import Training
from lowland.experiments.units_in_use import units_in_use
from lowland.measurements.accuracy import Accuracy
from lowland.measuring.measure import measure
from lowland.runs.context import Context
from lowland.train.fit import fit
from lowland.train.history import History
from lowland.train.keep import Keep
from lowland.train.parts import Parts
from lowland.train.recipe import Recipe
from lowland.types import Row

__all__ = ["Decay", "LateDecay", "check_late_decay", "course", "decayed", "largest", "late_decay_run", "survives"]


@dataclass(frozen=True, kw_only=True)
class LateDecay:
    """What is learnt, by which network.

    Attributes:
        data: Of the convolutional networks: a data set, with its arguments.
        model: The network, with its arguments; its layers have at most 4096 units.
        train: The most training images to take.
        epochs: Passes over them.
        batch: Images per step.
    """

    data: str = "digits"
    model: str = "conv:widths=(8,16,32),batch_norm=False"
    train: int = 6000
    epochs: int = 60
    batch: int = 64

    def __post_init__(self) -> None:
        self.training()

    def training(self) -> Training:
        """As other studies have it."""
        return Training(data=self.data, model=self.model, train=self.train, epochs=self.epochs, batch=self.batch)


DIVERGED: Row = {"done": 1.0, "final": True, "diverged": True}
"""The end of a run that diverged."""

SIZES = tuple(0.1 * 2**i for i in range(8))
"""Step sizes that are tried."""


@dataclass(frozen=True)
class Decay:
    """What a step size is multiplied by: 1 below a share of all steps, then ``SMALL``.

    Example:
        >>> [Decay(5, 0.4)(step) for step in range(5)]
        [1.0, 1.0, 0.2, 0.2, 0.2]
    """

    steps: int
    share: float

    def __call__(self, step: int) -> float:
        """Of a step, counted from 0."""
        return 1.0 if step / self.steps < self.share else SMALL


def check_late_decay(settings: LateDecay) -> None:
    """Refuse what would make every run fail.

    Raises:
        FileNotFoundError: If the data is not on this machine.
        LookupError: If a name is unknown.
        TypeError: If a spec has an argument that there is not.
        ValueError: If an argument is out of its range, or a layer has too many units to look for copies.
    """
    start = begin(settings.training(), 0, "cpu")
    units_in_use(start.model, in_order(start.train.take(2)))


def late_decay_run(settings: LateDecay, phases: Sequence[float], seed: int, context: Context) -> list[Row]:
    """Train a network with large steps for every share of training, their size chosen for the longest.

    Args:
        settings: What to train on.
        phases: Shares of training with large steps.
        seed: Decides initialisation and order of the batches.
        context: Where to compute, and where checkpoints are kept.

    Returns:
        A row for every epoch and share: ``train_loss``, the cross-entropy of the epoch's batches, its logarithm
        ``log_loss``, and whether it ``diverged``. The last of a share also has the ``error`` on test images, in
        percent, and ``used/LAYER``, what is in use on training images. If no step is survived, a single row of
        each share says that it diverged.
    """
    large = largest(settings, seed, max(phases), context)
    rows: list[Row] = []
    for at, phase in enumerate(phases):
        context.progress((1 + at) / (1 + len(phases)))
        found = course(settings, seed, large, phase, context) if large else [DIVERGED]
        rows += [{"phase": phase, "seed": seed, "large": large, **row} for row in found]
    return rows


def largest(settings: LateDecay, seed: int, longest: float, context: Context) -> float:
    """Nine tenths of the largest step size that training survives, tried with the longest share of large steps.

    The sizes double; nine tenths of what is survived must be survived, too. Survived is what ends below ``FITTED``
    of the entropy of the labels, the loss of the best constant answer.

    Returns:
        The step size; 0 if none is survived.
    """
    for size in reversed(SIZES):
        if all(survives(settings, seed, tried, longest, context) for tried in (size, 0.9 * size)):
            return 0.9 * size
    return 0.0


def survives(settings: LateDecay, seed: int, size: float, share: float, context: Context) -> bool:
    """Whether training with such large steps ends well below the loss of the best constant answer."""
    start, history = decayed(settings, seed, size, share, context)
    return not history.diverged and history.last["loss"] < FITTED * entropy(start.train)


def entropy(split: Split) -> float:
    """Of the labels, in nats."""
    return torch.distributions.Categorical(split.y.bincount().double()).entropy().item()


def decayed(
    settings: LateDecay, seed: int, size: float, share: float, context: Context
) -> tuple[Beginning, History]:
    """A network after training, and what its training was like; what was done before is read back."""
    start = begin(settings.training(), seed, context.device)
    optimizer = torch.optim.SGD(start.model.parameters(), lr=size)
    scheduler = LambdaLR(optimizer, Decay(settings.epochs * len(start.batches), share))
    history = fit(
        start.model,
        start.batches,
        Recipe(epochs=settings.epochs),
        parts=Parts(optimizer=optimizer, scheduler=scheduler),
        keep=Keep(folder=context.folder / f"{size:g}-{share:g}"),
        progress=False,
    )
    return start, history


def course(settings: LateDecay, seed: int, size: float, share: float, context: Context) -> list[Row]:
    """A row for every epoch, the last with what was learnt."""
    start, history = decayed(settings, seed, size, share, context)
    rows = [
        {
            "done": row["epoch"] / settings.epochs,
            "final": row["epoch"] == settings.epochs,
            "diverged": False,
            "train_loss": row["loss"],
            "log_loss": math.log(row["loss"]),
        }
        for row in history.rows
        if not row["diverged"]
    ]
    return [*rows, DIVERGED] if history.diverged else [*rows[:-1], {**rows[-1], **_learnt(start)}]


def _learnt(start: Beginning) -> Row:
    """What a trained network does."""
    error = columns(measure(start.model, None, {"test": in_order(start.test)}, Accuracy(on="test")))["test_error"]
    used = units_in_use(start.model, in_order(start.train))
    return {"error": error, **{f"used/{layer}": share for layer, share in used.items()}}
