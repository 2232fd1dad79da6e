"""Mean and standard error of numbers that arrive in batches."""

import torch
from torch import Tensor

__all__ = ["Average"]


class Average:
    r"""Streaming mean of per-example numbers, with its standard error :math:`s/\sqrt{n}`.

    Batches are merged by their means in float64, so neither their order nor their size matters beyond rounding.
    Stays on the device until it is read.

    Example:
        >>> average = Average()
        >>> average.add(torch.tensor([1.0, 0.0]))
        >>> average.add(torch.tensor([1.0, 1.0]))
        >>> average.mean, round(average.stderr, 3)
        (0.75, 0.217)
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean = torch.zeros((), dtype=torch.float64)
        self._squares = torch.zeros((), dtype=torch.float64)

    def add(self, values: Tensor) -> None:
        """Take in one number per example, shape (n,)."""
        values = values.double()
        total = self.count + len(values)
        mean = values.mean()
        step = mean - self._mean.to(values.device)
        between = step.square() * (self.count * len(values) / total)
        self._squares = self._squares.to(values.device) + (values - mean).square().sum() + between
        self._mean = self._mean.to(values.device) + step * (len(values) / total)
        self.count = total

    @property
    def mean(self) -> float:
        """The mean so far."""
        return self._mean.item()

    @property
    def stderr(self) -> float:
        r"""Standard error of the mean, with variance :math:`\sum_i (x_i - \bar x)^2 / n`.

        For numbers that are 0 or 1 it is the binomial :math:`\sqrt{p(1 - p)/n}`.
        """
        return self._squares.clamp(min=0).sqrt().item() / self.count
