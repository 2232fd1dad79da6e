"""A penalty: a frozen value; ``bind`` makes the object that is at work in a training run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = ["Penalty"]


@dataclass(frozen=True, kw_only=True)
class Penalty:
    """Base of all loss terms and of all rules around the optimiser's step.

    ``bind`` returns a :class:`~lowland.penalties._parts.bound.Bound`. Its arguments go by the same names
    everywhere: ``model``, ``optimizer``, ``examples``. A loss term's object is called inside the closure and
    returns what is to be added to the loss; its arguments are ``outputs``, ``inputs``, ``indices``, ``loss``.

    Attributes:
        COPIES: Copies of the trained weights that are kept between steps.
        FORWARDS: Forward passes that a call of a loss term takes besides the model's own.
        OFF: Settings at which training goes bit for bit as without it.
    """

    COPIES: ClassVar[int] = 0
    FORWARDS: ClassVar[int] = 0
    OFF: ClassVar[Mapping[str, Any]] = {}
