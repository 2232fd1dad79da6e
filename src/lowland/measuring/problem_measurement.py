"""What a measurement of the loss is: a frozen value that reads a model together with its loss and data."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from lowland.observe.reading import Reading
from lowland.operators.problem import Problem

__all__ = ["ProblemMeasurement"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProblemMeasurement(ABC):
    """Base class of the measurements that need the loss: at other weights, or its derivatives.

    To add one, write ``measurements/your_name.py`` with a frozen dataclass ``YourName(ProblemMeasurement)`` and
    its test. It leaves no trace, and the size of the batches must not matter beyond rounding.
    """

    on: str | tuple[str, ...] | None = None
    """Names of the splits to read, one by one; None: each split given."""

    @abstractmethod
    def read(self, problem: Problem) -> list[Reading]:
        """The readings of one problem, such as the loss on one split."""

    def splits(self, given: Sequence[str]) -> tuple[str, ...]:
        """Names of the splits that it reads.

        Raises:
            LookupError: If one of them was not given.
        """
        wanted = tuple(given) if self.on is None else (self.on,) if isinstance(self.on, str) else self.on
        if not set(wanted) <= set(given):
            raise LookupError(
                f"{type(self).__name__} needs the splits {', '.join(map(repr, wanted))}, "
                f"got {', '.join(map(repr, given))}. Name others with on=."
            )
        return wanted

    def settings(self) -> dict[str, Any]:
        """The fields as plain JSON values, without ``on``, which each reading states itself."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "on"}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
