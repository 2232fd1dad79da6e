"""The smallest model of a loss that hovers: one weight, by gradient descent with large steps."""

import math
from statistics import fmean

import torch

from lowland.seeds import generator
from lowland.theory.stabilised_loss import stabilised_loss
from lowland.types import Row

__all__ = ["hovering_weight"]

LOOKED_AT = 64
"""Steps that are looked at, after the others."""

LONGEST = 16
"""Longest period that is looked for."""

AWAY = 100.0
"""A weight beyond this has left."""


def hovering_weight(rate: float, seed: int, steps: int) -> Row:
    r"""Where gradient descent on :math:`(y - \theta^2)^2 / 4` settles, from a random start, with a random y.

    Args:
        rate: The size of a step times y; see :func:`lowland.theory.stabilised_loss.stabilised_loss`.
        seed: Of start and y.
        steps: Before it is looked at.

    Returns:
        A row. ``bounded``: 1, or 0 if the weight left, and then the others are None. ``level``: the mean loss over
        y squared. ``off``: how far that is from the closed form, if there is one, relative to it where not 0.
        ``period``: up to 16, and 0 where there is none.
    """
    target, start = (0.5 + torch.rand(2, generator=generator(seed, "one weight"), dtype=torch.float64)).tolist()
    facts: Row = {"rate": rate, "seed": seed, "diverged": False}
    theta, seen = start * math.sqrt(target), []
    for step in range(steps + LOOKED_AT):
        if abs(theta) > AWAY:
            return {**facts, "bounded": 0.0, "level": None, "off": None, "period": None}
        seen += [theta] if step >= steps else []
        theta += rate / target * theta * (target - theta**2)
    level = fmean((1 - each**2 / target) ** 2 / 4 for each in seen)
    periods = (p for p in range(1, LONGEST + 1) if abs(seen[-1] - seen[-1 - p]) < 1e-9)
    return {**facts, "bounded": 1.0, "level": level, "off": off(rate, level), "period": next(periods, 0)}


def off(rate: float, level: float) -> float | None:
    """How far a level is from the closed form."""
    if rate >= math.sqrt(5) - 1:
        return None
    closed = stabilised_loss(rate)
    return level / closed - 1 if closed else level
