"""The mean of a sample, with how sure it is."""

import math
from collections.abc import Sequence

__all__ = ["sampled"]


def sampled(values: Sequence[float]) -> tuple[float, float | None]:
    r"""Mean and standard error :math:`s / \sqrt{n}`, with :math:`s^2 = \sum_i (x_i - \bar x)^2 / (n - 1)`.

    The error of a single value is None.

    Example:
        >>> sampled([1.0, 3.0])
        (2.0, 1.0)
    """
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return mean, None
    return mean, math.sqrt(math.fsum((x - mean) ** 2 for x in values) / (n - 1) / n)
