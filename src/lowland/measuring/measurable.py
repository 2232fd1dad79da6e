"""All that can be measured: answers to data, weights, and the loss."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from lowland.catalog import build
from lowland.measuring.problem_measurement import ProblemMeasurement
from lowland.observe.look import Kind
from lowland.observe.measurement import Measurement, WeightMeasurement
from lowland.observe.reading import Reading

__all__ = ["Measurable", "in_split", "listed"]

Measurable = Kind | ProblemMeasurement
"""All kinds of measurements: of answers to data, of weights, and of the loss."""


def listed(measurements: Measurable | str | Sequence[Measurable | str]) -> list[Measurable]:
    """One or several measurements as a list; a name, with settings, is made: ``"feature_rank:threshold=0.9"``.

    Raises:
        LookupError: If there is no measurement of a name.
        TypeError: If there is something else among them.
    """
    if isinstance(measurements, str):
        return listed([measurements])
    given = list(measurements) if isinstance(measurements, Iterable) else [measurements]
    wanted = [build("measurements", each) if isinstance(each, str) else each for each in given]
    for each in wanted:
        if not isinstance(each, Measurement | WeightMeasurement | ProblemMeasurement):
            raise TypeError(
                f"measurements must be made, as Accuracy(), or named, got {getattr(each, '__name__', each)!r}."
            )
    return wanted


def in_split(readings: Iterable[Reading], split: str) -> list[Reading]:
    """The readings, each with the split that it belongs to among its settings."""
    return [replace(r, settings={"split": split, **r.settings}) for r in readings]
