"""Many measurements of one model, each pass over the data shared, no trace left."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from lowland.measuring.coupled import COUPLED, coupled
from lowland.measuring.measurable import Measurable, in_split, listed
from lowland.measuring.problem_measurement import ProblemMeasurement
from lowland.observe.look import look
from lowland.observe.measurement import WeightMeasurement
from lowland.observe.reading import Reading
from lowland.observe.untouched import untouched
from lowland.operators.problem import Problem, problem
from lowland.types import Batches

__all__ = ["measure"]


def measure(
    model: nn.Module,
    loss: Callable[[Any, Any], Tensor] | None,
    data: Batches | Mapping[str, Batches],
    measurements: Measurable | str | Sequence[Measurable | str],
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
        measurements: One or several, made or by name, such as ``"sharpness:rho=0.1"``.
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
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}.")
    splits = {str(k): v for k, v in data.items()} if isinstance(data, Mapping) else {"data": data}
    wanted = listed(measurements)
    if not splits and not all(isinstance(one, WeightMeasurement) for one in wanted):
        raise ValueError("data must hold at least one split for measurements that read data, got none.")
    found: list[list[Reading]] = [[] for _ in wanted]
    seen = {i: one for i, one in enumerate(wanted) if not isinstance(one, ProblemMeasurement)}
    if seen:
        _say(watch, "one pass over the data")
        for i, readings in zip(seen, look(model, splits, list(seen.values())), strict=True):
            found[i] = readings
    problems: dict[str, Problem] = {}
    for i, one, split in _of_the_loss(wanted, tuple(splits)):
        _say(watch, f"{type(one).__name__} on {split}")
        with untouched(model):
            if split not in problems:
                problems[split] = problem(model, loss, splits[split], params, memory=memory)
                _warn_of_batches(problems[split])
            found[i] += in_split(one.read(problems[split]), split)
    return [reading for readings in found for reading in readings]


def _warn_of_batches(given: Problem) -> None:
    """Warn where results depend on how the data are cut into batches."""
    if len(given.batches) > 1 and coupled(given):
        warnings.warn(
            f"The loss must be the mean over examples for results not to depend on the batches, got {COUPLED}: "
            "pass the data as one batch, or use lowland.problem with count=.",
            stacklevel=4,
        )


def _of_the_loss(
    wanted: Sequence[Measurable], given: Sequence[str]
) -> Iterator[tuple[int, ProblemMeasurement, str]]:
    """Measurements of the loss by place, with each split that they read."""
    for i, one in enumerate(wanted):
        if isinstance(one, ProblemMeasurement):
            yield from ((i, one, split) for split in one.splits(given))


def _say(watch: Callable[[str], None] | None, words: str) -> None:
    if watch is not None:
        watch(words)
