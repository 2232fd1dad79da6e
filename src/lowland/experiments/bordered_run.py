"""One run of a study of pixels that say nothing: networks side by side on images in borders of noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lowland.checks import at_least, whole
from lowland.data.border import rings
from lowland.experiments.bordered_images import BorderedImages
from lowland.experiments.course import course
from lowland.experiments.first_layer import as_layer, over_start
from lowland.experiments.side_by_side import descend, drawn, one_hot_error, outputs
from lowland.measurements.support import focus_map
from lowland.runs.context import Context
from lowland.seeds import generator
from lowland.types import Row

__all__ = ["BorderedTask", "bordered_run"]


@dataclass(frozen=True, kw_only=True)
class BorderedTask:
    """Images in borders, a network of two layers without biases, and how it is trained.

    Attributes:
        images: What is shown.
        hidden: Units of the hidden layer.
        relu: Whether they are rectified; otherwise the network is linear.
        entropy: Whether it learns by cross-entropy; else by the squared distance to the one-hot target.
        learning_rate: Size of a step, of plain SGD.
        steps: Of every run.
    """

    images: BorderedImages
    hidden: int
    relu: bool = True
    entropy: bool = False
    learning_rate: float
    steps: int

    def __post_init__(self) -> None:
        whole("hidden", self.hidden)
        whole("steps", self.steps)
        at_least("learning_rate", self.learning_rate, 0)

    def losses(self, found: Tensor, y: Tensor) -> Tensor:
        """Mean loss of every replica, (r,), from answers (r, n, k) and labels (r, n)."""
        if self.entropy:
            return nn.functional.cross_entropy(found.movedim(2, 1), y, reduction="none").mean(1)
        return one_hot_error(found, y)


def bordered_run(
    task: BorderedTask, batch: int, seeds: Sequence[int], context: Context, *, looks: int
) -> list[Row]:
    """Train a network for every seed, in float32, all of them as one.

    Args:
        task: What is learnt, and how.
        batch: Images a step.
        seeds: Each decides initialisation, order and borders; the images are the same.
        context: Where to compute, and who is told the seconds.
        looks: How often to look after the start, evenly spread.

    Returns:
        A row per look and seed, the seeds numbered from 0: ``step``, ``final``, ``seed``, ``diverged``; losses and
        errors in percent, ``train_loss``, ``train_error``, ``test_loss``, ``test_error``; and of the first layer,
        where it is finite, over the same at the start: ``border`` and ``image``, norms of its weights there,
        ``log``, the logarithm of the first, ``rings``, mean lengths of its columns from the edge inwards, ``top``,
        the largest eigenvalue of W'W; and ``auroc``, the chance that a pixel of the image has a longer column than
        one of the border.
    """
    images, mask = task.images, task.images.mask()
    train, test, classes = images.splits(context.device)
    wide = drawn((mask.numel(), task.hidden, classes), seeds, context.device)
    weights = [weight.detach().float().requires_grad_() for weight in wide]
    start = weights[0].detach().clone()
    splits = {
        name: (images.framed(part.x, generator(0, name)), part.y.expand(len(seeds), -1))
        for name, part in (("train", train), ("test", test))
    }

    def step(x: Tensor, y: Tensor) -> None:
        descend(weights, task.losses(outputs(weights, x, task.relu), y), task.learning_rate)

    rows = []
    for now in course(context, images.shown(batch, train, seeds), step, steps=task.steps, looks=looks):
        firsts = zip(weights[0].detach(), start, strict=True)
        found = zip(_scores(task, weights, splits), (_first_layer(w, s, mask) for w, s in firsts), strict=True)
        rows += [{**now, "seed": seed, **scores, **first} for seed, (scores, first) in enumerate(found)]
    return rows


@torch.no_grad()
def _scores(
    task: BorderedTask, weights: Sequence[Tensor], splits: Mapping[str, tuple[Tensor, Tensor]]
) -> list[Row]:
    found: dict[str, list[float]] = {}
    for name, (x, y) in splits.items():
        answers = outputs(weights, x, task.relu)
        found[f"{name}_loss"] = task.losses(answers, y).tolist()
        found[f"{name}_error"] = (100 * (answers.argmax(2) != y).double().mean(1)).tolist()
    return [dict(zip(found, each, strict=True)) for each in zip(*found.values(), strict=True)]


def _first_layer(weight: Tensor, start: Tensor, mask: Tensor) -> Row:
    if not weight.isfinite().all():
        return {"diverged": True}
    now, then = as_layer(weight), as_layer(start)
    spent = over_start(now, then, tuple(mask.flatten().tolist()))
    lengths, first = (rings(focus_map(each, shape=tuple(mask.shape)).cpu()) for each in (now, then))
    top = torch.linalg.matrix_norm(weight, 2) / torch.linalg.matrix_norm(start, 2)
    return {
        "diverged": False,
        "border": spent["irrelevant"],
        "log": spent["log"],
        "image": spent["relevant"],
        "auroc": spent["auroc"],
        "rings": (lengths / first).tolist(),
        "top": top.square().item(),
    }
