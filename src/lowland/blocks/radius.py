"""Schedules of a radius, or of any hyper-parameter that a method reads with ``step(...)``."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lowland.checks import at_least, whole
from lowland.engine.step import Moment, Schedule

__all__ = ["Cosine", "ProportionalToLearningRate", "Ramp", "WarmUp", "check_order", "check_radius"]


def check_radius(name: str, value: Schedule) -> None:
    """Refuse a number below 0; a schedule checks itself when it is made.

    Raises:
        ValueError: If ``value`` is a number that is negative, infinite or nan.
        TypeError: If it is neither a number nor a schedule.
    """
    if not callable(value):
        at_least(name, value, 0)


def check_order(name: str, value: float) -> None:
    """Refuse an order of a norm that is not above 1; infinity is one.

    Raises:
        ValueError: If it is not.
        TypeError: If it is no number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number above 1 or inf, got {value!r}.")
    if not value > 1:
        raise ValueError(f"{name} must be above 1, up to inf, got {value}.")


@dataclass(frozen=True)
class Cosine:
    r"""From ``start`` to ``end`` along half a cosine: :math:`b + (a - b)(1 + \cos(\pi t / T)) / 2`.

    Attributes:
        start: Value at the first step, >= 0.
        end: Value from step ``steps`` on, >= 0.
        steps: Length T, in optimiser steps, >= 1.

    Example:
        >>> SAM(rho=Cosine(0.1, 0.0, steps=1000))  # doctest: +SKIP
    """

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        at_least("start", self.start, 0)
        at_least("end", self.end, 0)
        whole("steps", self.steps)

    def __call__(self, moment: Moment) -> float:
        """The value at this step."""
        part = min(moment.count / self.steps, 1.0)
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * part)) / 2


@dataclass(frozen=True)
class Ramp:
    """From ``start`` to ``end`` on a line over ``steps`` optimiser steps, then on with ``end``.

    Attributes:
        start: Value at the first step; finite.
        end: Value from step ``steps`` on; finite.
        steps: Length, in optimiser steps, >= 1.
    """

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        at_least("start", self.start, -math.inf)
        at_least("end", self.end, -math.inf)
        whole("steps", self.steps)

    def __call__(self, moment: Moment) -> float:
        """The value at this step."""
        part = min(moment.count / self.steps, 1.0)
        return self.start + (self.end - self.start) * part


@dataclass(frozen=True)
class WarmUp:
    """From 0 to ``value`` on a line over ``steps`` optimiser steps, then on with ``value``.

    Attributes:
        value: A number >= 0, or another schedule to warm up into.
        steps: Length, in optimiser steps, >= 1.
    """

    value: Schedule
    steps: int

    def __post_init__(self) -> None:
        check_radius("value", self.value)
        whole("steps", self.steps)

    def __call__(self, moment: Moment) -> float | Tensor:
        """The value at this step."""
        value = self.value(moment) if callable(self.value) else self.value
        return value * min(moment.count / self.steps, 1.0)


@dataclass(frozen=True)
class ProportionalToLearningRate:
    r"""On a line with the learning rate: ``low`` at ``rate_low``, ``high`` at ``rate_high``.

    Never below 0. GSAM's schedule (Zhuang et al., ICLR 2022); with ``low`` and ``rate_low`` at 0, the
    radius is a fixed multiple of the learning rate.

    Attributes:
        high: Radius at the learning rate ``rate_high``, >= 0.
        low: Radius at ``rate_low``, >= 0.
        rate_high: The largest learning rate, > ``rate_low``.
        rate_low: The smallest learning rate, >= 0.
    """

    high: float
    rate_high: float
    low: float = 0.0
    rate_low: float = 0.0

    def __post_init__(self) -> None:
        for name in ("high", "low", "rate_low"):
            at_least(name, getattr(self, name), 0)
        at_least("rate_high", self.rate_high, 0)
        if self.rate_high <= self.rate_low:
            raise ValueError(f"rate_high must be above rate_low, got {self.rate_high} and {self.rate_low}.")

    def __call__(self, moment: Moment) -> float | Tensor:
        """The value at this step's learning rate."""
        rate: Any = moment.learning_rate
        part = (rate - self.rate_low) / (self.rate_high - self.rate_low)
        value = self.low + (self.high - self.low) * part
        return value.clamp(min=0) if isinstance(value, torch.Tensor) else max(value, 0.0)
