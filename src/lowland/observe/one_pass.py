"""One pass over one split: runs the model, checks what it shows, and hands it to every tally."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lowland.observe.features import default_layers, features, layer_of
from lowland.observe.forward import first_tensor, forward, home
from lowland.observe.measurement import Batch, Measurement, Tally
from lowland.observe.steady import steady
from lowland.types import Batches

__all__ = ["OnePass", "Task"]


@dataclass(frozen=True)
class Task:
    """A measurement at work on some splits."""

    measurement: Measurement
    splits: tuple[str, ...]
    tally: Tally
    layers: tuple[str, ...] | None
    """Layers the caller insists on; None: those of the default layers that answer row by row."""

    def reads(self, site: str, defaults: Sequence[str]) -> bool:
        """Whether what ``site`` answers is for this measurement."""
        if not self.measurement.FEATURES or not site:
            return not self.measurement.FEATURES and not site
        layers = defaults if self.layers is None else self.layers
        return site in layers or layer_of(site) in layers


class OnePass:
    """The pass of ``model`` over ``split`` that serves all of ``tasks``.

    Every layer is read the moment it answers, and nothing is kept of it but what a tally keeps, so the memory of
    the pass is that of a plain one.

    Which sites there are is settled by the first batch. A default layer that does not answer with one row for
    each example (an attention's weights, a time-major sequence), or answers with whole numbers, is left out; one
    that the caller named raises.

    Args:
        model: In the mode it is to be measured in, under no_grad if no graph is wanted.
        split: Name of the split, for the batches and the errors.
        tasks: The measurements that read this split.

    Cost:
        One forward pass, and one sum over each answer that is read, which finds what is not finite.
    """

    def __init__(self, model: nn.Module, split: str, tasks: Sequence[Task]) -> None:
        self.model, self.split, self.tasks = model, split, tasks
        self.device = home(model)[0]
        self.defaults = default_layers(model)
        self.insisted = {name for task in tasks for name in task.layers or ()}
        self.targets = torch.empty(0)
        self.ran: dict[str, bool] = {}
        """Sites of the first batch, and whether each is read."""
        self.now: set[str] = set()
        """Sites of the batch at hand."""
        self.settled = False
        self.sums: dict[str, Tensor] = {}

    def run(self, batches: Batches) -> None:
        """Run the model on every batch and update every tally.

        Raises:
            TypeError: If ``batches`` cannot be iterated.
            ValueError: If there is no example, a layer did not run for every batch, or something is not finite.
        """
        if not isinstance(batches, Iterable):
            raise TypeError(
                f"data must be batches, or a mapping from split to batches, got {type(batches).__name__} "
                f"for split {self.split!r}. Pass a list or loader of pairs (inputs, targets)."
            )
        with features(self.model, self._hooked(), self._read) as calls:
            for inputs, targets in map(_pair, steady(batches)):
                if len(targets) == 0:
                    continue
                calls.clear()
                self._step(inputs, targets)
        if not self.settled:
            raise ValueError(
                f"data must hold at least one batch of at least one example, got none in split {self.split!r}. "
                "A generator can be read only once: pass a loader or a list."
            )
        self._refuse_non_finite()

    def _hooked(self) -> list[str]:
        """Layers that somebody reads, in the model's order."""
        names = {layer_of(name) for name in self.insisted}
        if any(task.layers is None and task.measurement.FEATURES for task in self.tasks):
            names |= set(self.defaults)
        return [name for name, _ in self.model.named_modules() if name in names]

    def _step(self, inputs: Any, targets: Tensor) -> None:  # noqa: ANN401 - see forward
        self.targets, self.now = targets.to(self.device or targets.device), set()
        outputs = forward(self.model, inputs)
        if not all(task.measurement.FEATURES for task in self.tasks):
            self._read("", first_tensor(outputs, "the model").detach())
        if not self.settled:
            self._refuse_missing()
        self.settled = True
        changed = sorted(set(self.ran) ^ self.now)
        if changed:
            raise ValueError(
                f"Layer {changed[0]!r} must run for every batch, got some without it in split {self.split!r}. "
                "Name the layers that always run with layers=."
            )

    def _read(self, site: str, values: Tensor, given: Tensor | None = None) -> None:
        self.now.add(site)
        rows = values.ndim > 0 and len(values) == len(self.targets)
        features = values.is_floating_point() or not site
        if not self.settled:
            self.ran[site] = (rows and features) or self._is_insisted(site)
        if not self.ran.get(site, False):
            return
        if not rows:
            raise ValueError(
                f"{_called(site)} must answer with one row for each of the {len(self.targets)} examples "
                f"of a batch, got shape {tuple(values.shape)}. Name other layers with layers=."
            )
        if not features:
            raise ValueError(
                f"{_called(site)} must answer with floating-point features, got {values.dtype}. "
                "Name other layers with layers=."
            )
        total = _sum(values)
        self.sums[site] = self.sums[site] + total if site in self.sums else total
        layer = self.model.get_submodule(layer_of(site)) if site else None
        batch = Batch(split=self.split, site=site, layer=layer, given=given, values=values, targets=self.targets)
        for task in self.tasks:
            if task.reads(site, self.defaults):
                task.tally.update(batch)

    def _is_insisted(self, site: str) -> bool:
        return site in self.insisted or layer_of(site) in self.insisted or not site

    def _refuse_missing(self) -> None:
        ran = sorted(self.now - {""})
        missing = sorted(self.insisted - {*ran, *map(layer_of, ran)})
        if missing:
            raise LookupError(
                f"Layer {missing[0]!r} did not run in the model's forward pass, so it has no features. "
                f"These ran: {', '.join(ran) or '(none)'}."
            )

    def _refuse_non_finite(self) -> None:
        for site, total in self.sums.items():
            if not torch.isfinite(total):
                raise ValueError(
                    f"{_called(site)} must answer with finite numbers, got inf or nan in split {self.split!r}. "
                    "Has training diverged?"
                )


def _called(site: str) -> str:
    return f"Layer {site!r}" if site else "The model"


def _sum(value: Tensor) -> Tensor:
    """A sum that is finite if and only if every term is (up to sums beyond 3e38)."""
    half_or_single = value.is_floating_point() and value.dtype != torch.float64
    return value.sum(dtype=torch.float32 if half_or_single else torch.float64)


def _pair(batch: Any) -> tuple[Any, Tensor]:  # noqa: ANN401 - refuses what is not a pair
    if isinstance(batch, tuple | list) and len(batch) == 2 and isinstance(batch[1], Tensor):
        return batch[0], batch[1]
    parts = batch if isinstance(batch, tuple | list) else [batch]
    kinds = ", ".join(type(part).__name__ for part in parts)
    raise TypeError(f"Each batch must be a pair (inputs, targets) with a tensor of targets, got ({kinds}).")
