"""One run on images with a planted shortcut: train, and look at what the network goes by."""

from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import torch
from torch import nn

from lowland.checks import fraction, one_of
from lowland.data.batches import Batches, in_order
from lowland.data.dataset import Split
from lowland.data.shortcut import shortcut
from lowland.experiments.beginning import Beginning, begin
from lowland.experiments.columns import columns
from lowland.experiments.training import Training
from lowland.measurements.accuracy import Accuracy
from lowland.measuring.measure import measure
from lowland.runs.context import Context
from lowland.seeds import derive, generator
from lowland.train.fit import fit
from lowland.train.hooks import Moment
from lowland.train.keep import Keep
from lowland.train.parts import Parts
from lowland.train.recipe import Recipe
from lowland.types import Row

__all__ = ["Planted", "shortcut_run"]


@dataclass(frozen=True, kw_only=True)
class Planted(Training):
    """What studies of planted shortcuts have in common; the other settings are those of all image studies.

    Attributes:
        agreement: Share of training images whose patch names their label, in (0, 1).
        kind: What names the class: the ``place`` of a bright patch, or the ``shade`` of one in a corner.
    """

    agreement: float = 0.9
    kind: Literal["place", "shade"] = "place"

    def __post_init__(self) -> None:
        super().__post_init__()
        fraction("agreement", self.agreement, zero=False, one=False)
        one_of("kind", self.kind, ["place", "shade"])
        if self.augment:
            raise ValueError("augment must be False, got True: crops and flips would move the patches.")

    def planted(self, split: Split, classes: int, agreement: float, seed: int = 0) -> Split:
        """A split with patches of which this share names the label, the same for a seed."""
        return shortcut(split, agreement, classes, generator(seed, "patches"), self.kind)


def shortcut_run(settings: Planted, recipe: Recipe, parts: Parts, seed: int, context: Context) -> Row:
    """Train one network on images with patches.

    Args:
        settings: What to train on.
        recipe: How to train.
        parts: What the recipe cannot say, such as a loss of its own.
        seed: Decides initialisation, order of the batches, and which training patches mislead.
        context: Where to compute, and who is told the seconds.

    Returns:
        ``diverged``, and if it did not, ``passes`` of a step, mean over the epochs; errors in percent and losses,
        after training, on the training images (``train_error``), and on test images without patches
        (``clean_error``), with patches that always name the label (``agree_error``) and that never do
        (``conflict_error``); ``rise``, the last error less that without patches; and ``confidence``, the highest
        probability, mean over the images whose patch agrees.
    """
    begun = begin(settings, seed, context.device)
    seed = derive(seed, "run")
    train = settings.planted(begun.train, begun.classes, settings.agreement, seed)
    batches = Batches(train, min(settings.batch, len(train)), seed=derive(seed, "data"))
    keep = Keep(folder=context.folder / "checkpoint")

    def tell(model: nn.Module, moment: Moment) -> None:
        context.progress(moment.epoch / moment.epochs)

    history = fit(begun.model, batches, recipe, parts=parts, keep=keep, hooks=[tell], progress=False)
    context.timing("training", sum(history.seconds))
    if history.last["diverged"]:
        return {"diverged": True}
    passes = fmean(row["passes"] for row in history.rows)
    return {"diverged": False, "passes": passes, **_look(settings, begun, train)}


def _look(settings: Planted, begun: Beginning, train: Split) -> Row:
    agree, conflict = (settings.planted(begun.test, begun.classes, share) for share in (1.0, 0.0))
    splits = {"train": train, "agree": agree, "conflict": conflict, "clean": begun.test}
    found = measure(begun.model, None, {name: in_order(split) for name, split in splits.items()}, Accuracy())
    errors = columns(found)
    rise = errors["conflict_error"] - errors["clean_error"]
    return {**errors, "rise": rise, "confidence": _confidence(begun.model, agree)}


@torch.no_grad()
def _confidence(model: nn.Module, split: Split) -> float:
    """The highest probability, mean over the images."""
    model.eval()
    return torch.cat([model(x).softmax(1).amax(1) for x, _ in in_order(split)]).mean().item()
