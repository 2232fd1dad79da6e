"""What a measurement is: a frozen value that looks at batches as they go by, or at the weights alone."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from lowland.observe.reading import Reading

__all__ = ["Batch", "Measurement", "Tally", "WeightMeasurement"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """What one layer, or the model as a whole, answered to one batch.

    The values are lent, not given: they may change after the call, and others read them too. Copy what you keep,
    change nothing.
    """

    split: str
    """The split it belongs to."""
    site: str
    """The layer that answered; empty for the model as a whole."""
    values: Tensor
    """The answer: the first tensor in it, (n, ...)."""
    targets: Tensor
    """The loader's targets, on the same device, (n, ...)."""
    layer: nn.Module | None = None
    """The layer itself; None for the model as a whole."""
    given: Tensor | None = None
    """The first tensor that the layer was given by position; None for the model as a whole."""


class Tally(Protocol):
    """What a measurement remembers while batches go by."""

    def update(self, batch: Batch) -> None:
        """Take in one batch of one layer (``FEATURES``) or of the model's outputs."""
        ...

    def finish(self) -> list[Reading]:
        """The readings over everything that was taken in; called once, after the last batch."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurement(ABC):
    """Base class of the measurements that need data: a value with a ``start`` and a few facts.

    To add one, write ``measurements/your_name.py`` with a frozen dataclass ``YourName(Measurement)`` and its test.
    The order of the batches and their size must not matter to the readings.
    """

    SPLITS: ClassVar[tuple[str, ...]] = ()
    """The splits it compares, by their usual names; empty if it reads one split at a time."""
    FEATURES: ClassVar[bool] = False
    """Whether it reads layers, one call of ``update`` for each; else it reads the model's outputs."""

    on: str | tuple[str, ...] | None = None
    """Names of the splits to read; None: ``SPLITS`` if it compares, else each split given, one by one."""

    @abstractmethod
    def start(self, splits: tuple[str, ...]) -> Tally:
        """A fresh, empty tally for the splits that share it (in the order of ``SPLITS`` if it compares)."""

    def chosen(self, model: nn.Module) -> tuple[str, ...] | None:
        """Names of the layers it insists on, if any: those the caller named, unless it knows better.

        Args:
            model: The model that is to be measured.

        Returns:
            Names of layers or sites; None for the default layers.
        """
        named = getattr(self, "layers", None)
        return (named,) if isinstance(named, str) else named

    def groups(self, given: Sequence[str]) -> list[tuple[str, ...]]:
        """Which splits share a tally: each alone, or all that are compared.

        Args:
            given: Names of the splits that there are.

        Returns:
            Names of splits, one tuple for each tally.

        Raises:
            LookupError: If a split is needed that was not given; says how to name another.
        """
        named = (self.on,) if isinstance(self.on, str) else self.on
        wanted = named or self.SPLITS or tuple(given)
        missing = [name for name in wanted if name not in given]
        if missing or (self.SPLITS and len(wanted) != len(self.SPLITS)):
            raise LookupError(self._missing(wanted, given))
        return [wanted] if self.SPLITS else [(name,) for name in wanted]

    def settings(self) -> dict[str, Any]:
        """The fields as plain JSON values, without ``on`` and ``layers``, which each reading states itself."""
        return _plain(self)

    def _missing(self, wanted: Sequence[str], given: Sequence[str]) -> str:
        needs = ", ".join(repr(name) for name in wanted)
        roles = f" in the roles {', '.join(self.SPLITS)}" if self.SPLITS else ""
        return (
            f"{type(self).__name__} needs the splits {needs}{roles}, got {', '.join(map(repr, given))}. "
            "Pass data as a mapping from split to batches, or name the splits with on=."
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightMeasurement(ABC):
    """Base class of the measurements that read weights alone: no data are looked at, and no pass is made.

    To add one, write ``measurements/your_name.py`` with a frozen dataclass ``YourName(WeightMeasurement)`` and its
    test.
    """

    @abstractmethod
    def read(self, model: nn.Module) -> list[Reading]:
        """The readings of ``model``, in eval mode under no_grad; whatever it changes is put back afterwards."""

    def settings(self) -> dict[str, Any]:
        """The fields as plain JSON values, without ``layers``, which each reading states itself."""
        return _plain(self)


def _plain(measurement: Measurement | WeightMeasurement) -> dict[str, Any]:
    fields = {k: v for k, v in dataclasses.asdict(measurement).items() if k not in ("on", "layers")}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}
