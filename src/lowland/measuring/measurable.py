"""All that can be measured: answers to data, weights, and the loss."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from lowland.measuring.problem_measurement import ProblemMeasurement
from lowland.observe.look import Kind
from lowland.observe.measurement import Measurement, WeightMeasurement
from lowland.observe.reading import Reading

__all__ = ["Measurable", "in_split", "listed"]

Measurable = Kind | ProblemMeasurement
"""All kinds of measurements: of answers to data, of weights, and of the loss."""


def listed(measurements: Measurable | Sequence[Measurable]) -> list[Measurable]:
    """One or several measurements as a list.

    Raises:
        TypeError: If there is something else among them.
    """
    wanted = list(measurements) if isinstance(measurements, Iterable) else [measurements]
    for one in wanted:
        if not isinstance(one, Measurement | WeightMeasurement | ProblemMeasurement):
            raise TypeError(f"measurements must be made, as Accuracy(), got {getattr(one, '__name__', one)!r}.")
    return wanted


def in_split(readings: Iterable[Reading], split: str) -> list[Reading]:
    """The readings, each with the split that it belongs to among its settings."""
    return [replace(r, settings={"split": split, **r.settings}) for r in readings]
