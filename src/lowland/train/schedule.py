"""Learning-rate schedules by name, as plain schedulers of PyTorch stepped once per optimiser step."""

import math
from dataclasses import dataclass

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lowland.checks import fraction, one_of, whole

__all__ = ["NAMES", "Factor", "schedule"]

NAMES = ("constant", "cosine", "steps")


@dataclass(frozen=True)
class Factor:
    r"""What the learning rate is multiplied by in a step, between 0 and 1.

    With ``t`` the share of training done: ``constant`` is 1; ``cosine`` is :math:`(1 + \cos \pi t) / 2`,
    with ``t`` counted from the end of the warm-up; ``steps`` is 1, then 0.1 from ``t = 0.5``, then 0.01 from
    ``t = 0.9``. During the warm-up the factor is :math:`(i + 1) / m` in step ``i`` of ``m``.

    A pure function of the step, so resuming needs nothing but the step's number.

    Attributes:
        name: One of ``constant``, ``cosine``, ``steps``.
        steps: Optimiser steps of the whole training.
        warmup: Optimiser steps of linear warm-up at its beginning.

    Example:
        >>> [Factor("steps", 10)(i) for i in (0, 4, 5, 9)]
        [1.0, 1.0, 0.1, 0.01]
        >>> [Factor("cosine", 6, warmup=2)(i) for i in range(4)]
        [0.5, 1.0, 1.0, 0.8535533905932737]
    """

    name: str
    steps: int
    warmup: int = 0

    def __call__(self, step: int) -> float:
        """The factor of step ``step``, counted from 0."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        if self.name == "cosine":
            done = (step - self.warmup) / max(1, self.steps - self.warmup)
            return (1 + math.cos(math.pi * min(1.0, done))) / 2
        if self.name == "steps":
            return 0.01 if 10 * step >= 9 * self.steps else 0.1 if 2 * step >= self.steps else 1.0
        return 1.0


def schedule(optimizer: Optimizer, name: str, steps: int, warmup: float = 0.0) -> LambdaLR:
    """The scheduler called ``name`` for ``optimizer``, over ``steps`` optimiser steps.

    Args:
        optimizer: Its learning rates become the highest ones of the schedule.
        name: ``constant``, ``cosine`` or ``steps`` (a tenth at 50 % and again at 90 %); see :class:`Factor`.
        steps: Optimiser steps of the whole training, at least 1.
        warmup: Share of the steps that is linear warm-up, in [0, 1).

    Returns:
        A plain PyTorch scheduler; call its ``step()`` after every ``optimizer.step()``.

    Raises:
        ValueError: If the name is unknown or a number is out of range.
    """
    one_of("schedule", name, NAMES)
    whole("steps", steps)
    fraction("warmup", warmup, one=False)
    return LambdaLR(optimizer, Factor(name, steps, round(warmup * steps)))
