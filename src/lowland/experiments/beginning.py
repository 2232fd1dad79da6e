"""A network before its first step, with its data: where studies that train in a way of their own begin."""

from dataclasses import dataclass

import torch
from torch import nn

from lowland import catalog
from lowland.data.batches import Batches
from lowland.data.dataset import Split
from lowland.experiments.training import Training, load_images
from lowland.seeds import derive

__all__ = ["Beginning", "begin"]


@dataclass(frozen=True, eq=False)
class Beginning:
    """What a training begins with; of one seed it is always the same.

    Attributes:
        model: The network, untrained.
        train: Images to train on.
        test: Images to test on.
        classes: Their number.
        batches: The training images in batches, shuffled anew in every epoch.
    """

    model: nn.Module
    train: Split
    test: Split
    classes: int
    batches: Batches


def begin(
    settings: Training,
    seed: int,
    device: str,
    *,
    dtype: torch.dtype = torch.float32,
    activation: str | None = None,
) -> Beginning:
    """Load the data and make the network, as :func:`lowland.experiments.training.training_run` does.

    Args:
        settings: What to train on.
        seed: Decides initialisation and order of the batches; the data is the same for all seeds.
        device: Where to compute.
        dtype: Of images and weights.
        activation: The network's, which ``settings`` must leave open; None leaves it as it is there.

    Raises:
        FileNotFoundError: If the data is not on this machine.
        LookupError: If a name is unknown.
        TypeError: If the network takes no such argument.
        ValueError: If an argument is out of its range.
    """
    settings.recipe("sgd")  # refuses numbers out of range
    data = load_images(settings.data, settings.train)
    name, _, arguments = catalog.parse(settings.model)
    make = catalog.load("models", name)
    if activation is not None:
        if "activation" in arguments:
            raise ValueError(f"model must leave the activation to the study, got {settings.model!r}.")
        arguments["activation"] = activation
    seed = derive(seed, "run")
    torch.manual_seed(derive(seed, "model"))
    model: nn.Module = make(shape=data.shape, classes=len(data.classes), **arguments)
    train, test = (Split(split.x.to(device, dtype), split.y.to(device)) for split in (data.train, data.test))
    batches = Batches(train, min(settings.batch, len(train)), seed=derive(seed, "data"))
    return Beginning(model.to(device, dtype), train, test, len(data.classes), batches)
