"""Networks of two layers side by side, for any method and optimiser, with a task that looks at some inputs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from lowland.experiments.bordered_images import BorderedImages
from lowland.experiments.side_by_side import one_hot_error
from lowland.experiments.support_task import SupportTask
from lowland.seeds import generator

__all__ = ["SupportSetup"]


@dataclass(frozen=True, kw_only=True)
class SupportSetup:
    """A task for r networks, as :class:`lowland.engine.replicas.Replicas` takes it.

    Attributes:
        models: The networks, each from its seed.
        loss: Of one network on a batch.
        seen: All training examples, (r, n, d) and (r, n, ...).
        batches: Random ones, for ever.
        relevant: Which inputs are, (d,).
    """

    models: list[nn.Module]
    loss: Callable[[nn.Module, Tensor, Tensor], Tensor]
    seen: tuple[Tensor, Tensor]
    batches: Iterator[tuple[Tensor, Tensor]]
    relevant: tuple[bool, ...]

    @classmethod
    def of_task(cls, task: SupportTask, batch: int, seeds: Sequence[int], device: str) -> "SupportSetup":
        """Networks and a target of some of their inputs, in float64; every seed has its own examples."""
        x, y = task.data_of(seeds, device)
        widths = (task.inputs, *task.hidden, 1)
        return cls(
            models=[_network(widths, task.relu, seed).to(device, torch.float64) for seed in seeds],
            loss=lambda model, x, y: (model(x) - y).square().mean(),
            seen=(x, y),
            batches=task.shown(batch, x, y, seeds),
            relevant=tuple(i < task.relevant for i in range(task.inputs)),
        )

    @classmethod
    def of_images(
        cls, source: BorderedImages, hidden: int, batch: int, seeds: Sequence[int], device: str
    ) -> "SupportSetup":
        """Networks with ReLU and images in borders, in float32; the squared distance to the one-hot target."""
        train, _, classes = source.splits(device)
        relevant = source.mask().flatten()
        x = source.framed(train.x, generator(0, "train"))
        return cls(
            models=[_network((len(relevant), hidden, classes), True, seed).to(device) for seed in seeds],
            loss=lambda model, x, y: one_hot_error(model(x), y),
            seen=(x.expand(len(seeds), -1, -1), train.y.expand(len(seeds), -1)),
            batches=source.shown(batch, train, seeds),
            relevant=tuple(relevant.tolist()),
        )


def _network(widths: Sequence[int], relu: bool, seed: int) -> nn.Module:
    """Two layers without biases, He-normal."""
    first, last = (nn.Linear(i, o, bias=False) for i, o in pairwise(widths))
    stream = generator(seed, "weights")
    for layer in (first, last):
        nn.init.kaiming_normal_(layer.weight, generator=stream)
    return nn.Sequential(first, nn.ReLU(), last) if relu else nn.Sequential(first, last)
