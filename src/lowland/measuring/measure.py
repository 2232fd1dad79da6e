"""Many measurements of one model, each pass over the data shared, no trace left."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from lowland.measuring.problem_measurement import ProblemMeasurement
from lowland.observe.look import Kind, look
from lowland.observe.measurement import Measurement, WeightMeasurement
from lowland.observe.reading import Reading
from lowland.observe.untouched import untouched
from lowland.operators.problem import Problem, problem
from lowland.types import Batches

__all__ = ["Measurable", "measure"]

Measurable = Kind | ProblemMeasurement
"""All kinds of measurements: of answers to data, of weights, and of the loss."""


def measure(
    model: nn.Module,
    loss: Callable[[Any, Any], Tensor] | None,
    data: Batches | Mapping[str, Batches],
    measurements: Measurable | Sequence[Measurable],
    *,
    params: str | Sequence[str] = "all",
    memory: str | float = "2 GB",
    watch: Callable[[str], None] | None = None,
) -> list[Reading]:
    """Measure ``model`` in eval mode.

    What looks at features and outputs shares one forward pass over each split, what needs derivatives of the loss
    shares one :class:`~lowland.operators.problem.Problem` for each. Leaves no trace: weights, buffers, gradients,
    modes and random streams are bit for bit as before.

    Args:
        model: Any module; of a compiled one the module that was compiled is measured, under its own layers' names.
        loss: ``loss(outputs, targets)``, the mean over the batch, such as ``nn.functional.cross_entropy``. None
            will do where no measurement needs it, or the outputs hold a ``loss``.
        data: Batches of (inputs, targets), or a mapping from split to batches. Alone, the split is ``data``.
            Measurements of the weights read none, so it may be empty for them.
        measurements: One or several.
        params: Parameters that measurements of the loss are about; patterns on their names.
        memory: What graphs of those may take.
        watch: Called with what is done next, in words.

    Returns:
        The readings, in the order of the measurements, then of the splits, then of the layers.

    Raises:
        LookupError: If a layer, a parameter or a split is unknown, or a named layer did not run.
        TypeError: If data are not batches, a batch is not a pair, or an output holds no tensor.
        ValueError: If a split is empty, features or outputs are not finite, a layer did not answer for every
            example, or one of the measurements refuses what it sees.

    Cost:
        One forward pass over each split that is read, plus what each measurement states.

    Example:
        >>> import torch
        >>> from lowland.measurements.accuracy import Accuracy
        >>> model = nn.Linear(2, 2, bias=False).requires_grad_(False)
        >>> _ = model.weight.copy_(torch.eye(2))
        >>> batches = [(torch.eye(2), torch.tensor([0, 0]))]
        >>> print(measure(model, nn.functional.cross_entropy, batches, Accuracy())[0])
        accuracy: 0.5 +- 0.354 fraction
    """
    splits = {str(k): v for k, v in data.items()} if isinstance(data, Mapping) else {"data": data}
    wanted = list(measurements) if isinstance(measurements, Iterable) else [measurements]
    for one in wanted:
        _refuse_other(one)
    say = watch or (lambda words: None)
    found: dict[int, list[Reading]] = {}
    seen = {i: one for i, one in enumerate(wanted) if not isinstance(one, ProblemMeasurement)}
    if seen:
        say("one pass over the data")
        found |= dict(zip(seen, look(model, splits, list(seen.values())), strict=True))
    problems: dict[str, Problem] = {}
    for i, one in enumerate(wanted):
        if not isinstance(one, ProblemMeasurement):
            continue
        found[i] = []
        for split in one.splits(tuple(splits)):
            say(f"{type(one).__name__} on {split}")
            with untouched(model):
                if split not in problems:
                    problems[split] = problem(model, loss, splits[split], params, memory=memory)
                found[i] += [_in_split(reading, split) for reading in one.read(problems[split])]
    return [reading for i in range(len(wanted)) for reading in found[i]]


def _refuse_other(one: object) -> None:
    if not isinstance(one, Measurement | WeightMeasurement | ProblemMeasurement):
        raise TypeError(f"measurements must be made, as Accuracy(), got {getattr(one, '__name__', one)!r}.")


def _in_split(reading: Reading, split: str) -> Reading:
    return replace(reading, settings={"split": split, **reading.settings})
