"""One run of a study of the support: networks side by side on a task that looks at some of its inputs."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lowland.experiments.course import course
from lowland.experiments.side_by_side import descend, drawn, outputs
from lowland.experiments.support_task import SupportTask
from lowland.runs.context import Context
from lowland.types import Row

__all__ = ["support_run"]


def support_run(
    task: SupportTask, batch: int, seeds: Sequence[int], context: Context, *, looks: int, decay: float = 0.0
) -> list[Row]:
    """Train a network for every seed, with data of its own, all of them as one.

    Args:
        task: What is learnt, and how.
        batch: Random examples a step; 0: gradient descent.
        seeds: Each decides data, initialisation and order of the examples.
        context: Where to compute, and who is told the seconds.
        looks: How often to look after the start, evenly spread.
        decay: Weight decay on the first layer.

    Returns:
        A row per look and seed, the seeds numbered from 0: ``step``, ``final``, ``seed``, ``loss`` on all data,
        ``relevant`` and ``irrelevant``, the norms of the first layer's weights on either kind of input, and
        ``diverged``; a run that diverged says only so.
    """
    x, y = task.data_of(seeds, context.device)
    weights = drawn((task.inputs, *task.hidden, 1), seeds, context.device)

    def step(inputs: Tensor, targets: Tensor) -> None:
        losses = (outputs(weights, inputs, task.relu) - targets).square().mean((1, 2))
        descend(weights, losses, task.learning_rate, clip=task.clip, decay=decay)

    rows = []
    for now in course(context, task.shown(batch, x, y, seeds), step, steps=task.steps, looks=looks):
        found = _look(weights, outputs(weights, x, task.relu) - y, task.relevant)
        rows += [{**now, "seed": seed, **look} for seed, look in enumerate(found)]
    return rows


@torch.no_grad()
def _look(weights: Sequence[Tensor], errors: Tensor, relevant: int) -> list[Row]:
    parts = (weights[0][..., :relevant], weights[0][..., relevant:])
    norms = (part.norm(dim=(1, 2)).tolist() for part in parts)
    return [
        {"loss": loss, "relevant": inside, "irrelevant": outside, "diverged": False}
        if math.isfinite(loss)
        else {"diverged": True}
        for loss, inside, outside in zip(errors.square().mean((1, 2)).tolist(), *norms, strict=True)
    ]
