"""Many measurements, one forward pass over each split, no trace left."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn

from lowland.observe.features import layer_of, refuse_unknown
from lowland.observe.measurement import Measurement
from lowland.observe.one_pass import OnePass, Task
from lowland.observe.reading import Reading
from lowland.observe.untouched import untouched
from lowland.types import Batches

__all__ = ["measure"]


def measure(
    model: nn.Module,
    data: Batches | Mapping[str, Batches],
    measurements: Measurement | Sequence[Measurement],
) -> list[Reading]:
    """Measure ``model`` in eval mode, with one forward pass over each split however much is measured.

    Leaves no trace: weights, buffers, gradients, modes and random streams are bit for bit as before
    (:func:`lowland.observe.untouched.untouched`). Inputs are moved to the model's device and dtype.

    Args:
        model: Any module.
        data: Batches of (inputs, targets), or a mapping from split to batches. Alone, the split is ``data``.
        measurements: One or several. Splits that nobody reads are not passed over.

    Returns:
        The readings, in the order of the measurements, then of the splits, then of the layers.

    Raises:
        LookupError: If a layer or a split is unknown, or a named layer did not run.
        TypeError: If data are not batches, a batch is not a pair, or an output holds no tensor.
        ValueError: If a split is empty, features or outputs are not finite, a layer did not answer for every
            example, or one of the measurements refuses what it sees.

    Cost:
        One forward pass over each split that is read, plus what each measurement states.

    Example:
        >>> from lowland.measurements.accuracy import Accuracy
        >>> model = nn.Linear(2, 2, bias=False).requires_grad_(False)
        >>> _ = model.weight.copy_(torch.eye(2))
        >>> batches = [(torch.eye(2), torch.tensor([0, 0]))]
        >>> print(measure(model, batches, Accuracy())[0])
        accuracy: 0.5 +- 0.354 fraction
    """
    splits = _splits(data)
    wanted = [measurements] if isinstance(measurements, Measurement) else measurements
    for one in wanted:
        if not isinstance(one, Measurement):
            raise TypeError(f"measurements must be made, as Accuracy(), got {getattr(one, '__name__', one)!r}.")
    tasks = [_task(model, one, group) for one in wanted for group in one.groups(tuple(splits))]
    with untouched(model), torch.no_grad():
        model.eval()
        for split, batches in splits.items():
            readers = [task for task in tasks if split in task.splits]
            if readers:
                OnePass(model, split, readers).run(batches)
    return [_in_split(reading, task) for task in tasks for reading in task.tally.finish()]


def _splits(data: Batches | Mapping[str, Batches]) -> dict[str, Batches]:
    return {str(name): batches for name, batches in data.items()} if isinstance(data, Mapping) else {"data": data}


def _task(model: nn.Module, measurement: Measurement, splits: tuple[str, ...]) -> Task:
    named = getattr(measurement, "layers", None)
    layers = (named,) if isinstance(named, str) else named
    refuse_unknown(model, [layer_of(name) for name in layers or ()])
    return Task(measurement, splits, measurement.start(splits), layers)


def _in_split(reading: Reading, task: Task) -> Reading:
    return replace(reading, settings={"split": "/".join(task.splits), **reading.settings})
