"""Many measurements, one forward pass over each split, no trace left."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn

from lowland.observe.features import layer_of, refuse_unknown
from lowland.observe.measurement import Measurement, WeightMeasurement
from lowland.observe.one_pass import OnePass, Task
from lowland.observe.ordinary import ordinary
from lowland.observe.reading import Reading
from lowland.observe.untouched import untouched
from lowland.types import Batches

__all__ = ["Kind", "look"]

Kind = Measurement | WeightMeasurement
"""What one look serves: measurements of answers to data, and of weights."""

Splits = Mapping[str, Batches]


def look(model: nn.Module, data: Splits, measurements: Sequence[Kind]) -> list[list[Reading]]:
    """Look at ``model`` in eval mode, with one forward pass over each split however much is measured.

    Leaves no trace (:func:`lowland.observe.untouched.untouched`). Inputs are moved to the model's device and
    dtype. Of a compiled model the module that was compiled is measured, under its own layers' names.

    Args:
        model: Any module.
        data: From split to batches; splits that nobody reads are not passed over.
        measurements: Of features, outputs or weights.

    Returns:
        The readings of each measurement, in the order of the splits, then of the layers.

    Raises:
        LookupError: If a layer or a split is unknown, or a named layer did not run.
        TypeError: If data are not batches, a batch is not a pair, or an output holds no tensor.
        ValueError: If a split is empty, features or outputs are not finite, a layer did not answer for every
            example, or one of the measurements refuses what it sees.
    """
    model = getattr(model, "_orig_mod", model)  # as torch.compile wraps it
    tasks = [_tasks(model, one, tuple(data)) for one in measurements]
    with untouched(model), torch.no_grad():
        model.eval()
        of_weights = [one.read(model) if isinstance(one, WeightMeasurement) else [] for one in measurements]
        for split, batches in data.items():
            readers = [task for its_tasks in tasks for task in its_tasks if split in task.splits]
            if readers:
                OnePass(model, split, readers).run(batches)
    with ordinary():
        of_data = [[reading for task in its_tasks for reading in _readings(task)] for its_tasks in tasks]
    return [[*a, *b] for a, b in zip(of_weights, of_data, strict=True)]


def _tasks(model: nn.Module, measurement: Kind, splits: tuple[str, ...]) -> list[Task]:
    """What ``measurement`` has to do while data go by: nothing if it reads weights."""
    if isinstance(measurement, WeightMeasurement):
        return []
    layers = measurement.chosen(model)
    refuse_unknown(model, [layer_of(name) for name in layers or ()])
    return [Task(measurement, group, measurement.start(group), layers) for group in measurement.groups(splits)]


def _readings(task: Task) -> list[Reading]:
    split = "/".join(task.splits)
    return [replace(reading, settings={"split": split, **reading.settings}) for reading in task.tally.finish()]
