"""The same measurements of one model, time after time, each time starting where the last one ended."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from lowland.measuring.measurable import Measurable, in_split, listed
from lowland.measuring.problem_measurement import ProblemMeasurement
from lowland.observe.features import layer_of, refuse_unknown
from lowland.observe.look import Kind, look
from lowland.observe.measurement import Measurement
from lowland.observe.reading import Reading
from lowland.observe.untouched import untouched
from lowland.operators.chosen import chosen
from lowland.operators.memory import bytes_of
from lowland.operators.problem import Problem, problem
from lowland.types import Batches

__all__ = ["Repeated", "Taken"]


@dataclass(frozen=True)
class Taken:
    """What one measurement found, and how long it took; a pass over data that several share counts for each."""

    readings: list[Reading]
    seconds: float


class Repeated:
    """Measurements to be taken again and again of a model that changes meanwhile.

    Problems are kept from time to time, and with them what iterations start from. A loader that shuffles by a
    generator of PyTorch's gives the same order every time (:func:`lowland.observe.steady.steady`).

    Args:
        model: Any module.
        loss: As for :func:`lowland.measure`; likewise the others.
        data: Batches, or a mapping from split to batches.
        measurements: One or several, made or by name, such as ``"sharpness:rho=0.1"``.
        params: What measurements of the loss are about.
        memory: What graphs of those may take.

    Attributes:
        warm: What the problem of each split keeps to start from.

    Raises:
        TypeError: If the model, the data or a measurement are of another kind.
        LookupError: If a split, a layer or a parameter is unknown.
        ValueError: If nothing is trainable, or memory is no amount.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[Any, Any], Tensor] | None,
        data: Batches | Mapping[str, Batches],
        measurements: Measurable | str | Sequence[Measurable | str],
        params: str | Sequence[str] = "all",
        memory: str | float = "2 GB",
    ) -> None:
        self.model, self.loss, self.params, self.memory = model, loss, params, memory
        self.splits = {str(k): v for k, v in data.items()} if isinstance(data, Mapping) else {"data": data}
        self.measurements = listed(measurements)
        self.warm: dict[str, dict[str, Tensor]] = {}
        self._problems: dict[str, Problem] = {}
        self._about: list[tuple[int, torch.device, torch.dtype]] = []
        _refuse(self)

    def take(self) -> list[Taken]:
        """All of them, in order; no trace is left, in the random streams and in those of the loaders neither.

        Cost:
            As :func:`lowland.measure`; from the second time on derivatives are no longer checked.
        """
        with untouched(self.model):
            looked = self._look()
            taken = [
                self._read(one) if isinstance(one, ProblemMeasurement) else looked[i]
                for i, one in enumerate(self.measurements)
            ]
        for known in self._problems.values():
            known.settings = replace(known.settings, check=False)
        return taken

    def forget(self) -> None:
        """Begin anew, from what ``warm`` is set to next."""
        self._problems.clear()

    def _look(self) -> dict[int, Taken]:
        """What one pass over the data answers, by place among the measurements."""
        wanted = {i: one for i, one in enumerate(self.measurements) if not isinstance(one, ProblemMeasurement)}
        if not wanted:
            return {}
        start = perf_counter()
        found = look(self.model, self.splits, list(wanted.values()))
        seconds = perf_counter() - start
        return {i: Taken(readings, seconds) for i, readings in zip(wanted, found, strict=True)}

    def _read(self, one: ProblemMeasurement) -> Taken:
        start, found = perf_counter(), []
        for split in one.splits(tuple(self.splits)):
            found += in_split(one.read(self._problem(split)), split)
        return Taken(found, perf_counter() - start)

    def _problem(self, split: str) -> Problem:
        """The split's problem, the same as last time unless other parameters train now, or elsewhere."""
        about = [(id(p), p.device, p.dtype) for p in self.model.parameters() if p.requires_grad]
        if about != self._about:
            self._problems, self._about = {}, about
        if split not in self._problems:
            made = problem(self.model, self.loss, self.splits[split], self.params, memory=self.memory)
            made.warm = self.warm.setdefault(split, made.warm)
            self._problems[split] = made
        return self._problems[split]


def _refuse(repeated: Repeated) -> None:
    """Refuse at the door what would fail in the middle of training.

    Raises:
        LookupError: If a split, a layer or a parameter is unknown.
        TypeError: If the model, a measurement or the data are of another kind.
    """
    if not isinstance(repeated.model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(repeated.model).__name__}.")
    bytes_of(repeated.memory)
    splits = tuple(repeated.splits)
    for one in repeated.measurements:
        if isinstance(one, ProblemMeasurement):
            one.splits(splits)
            chosen(repeated.model, repeated.params)
        else:
            _refuse_layers(repeated.model, one)
        if isinstance(one, Measurement):
            one.groups(splits)
    for split, batches in repeated.splits.items():
        if isinstance(batches, Iterator) or not isinstance(batches, Iterable):
            raise TypeError(
                f"data must be batches that can be passed over again and again, got {type(batches).__name__} for "
                f"{split!r}: pass a loader or a list."
            )


def _refuse_layers(model: nn.Module, one: Kind) -> None:
    model = getattr(model, "_orig_mod", model)  # as torch.compile wraps it
    named = one.chosen(model) if isinstance(one, Measurement) else getattr(one, "layers", None)
    names = [named] if isinstance(named, str) else named or ()
    refuse_unknown(model, [layer_of(name) for name in names])
