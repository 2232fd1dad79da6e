"""A number found by chance, how sure it is, and what it cost."""

from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from lowland.estimate.meter import Meter

__all__ = ["Estimate"]

T = TypeVar("T", float, Tensor)


@dataclass(frozen=True)
class Estimate(Generic[T]):
    """A mean over random vectors.

    Attributes:
        value: A number, or a tensor of them.
        stderr: Its standard error, of the same shape; 0 where nothing was left to chance.
        probes: Random vectors that the standard error comes from.
        products: With the operator, all in all.
        gradients: What the products cost, in gradients of the same data; None where unknown.
    """

    value: T
    stderr: T
    probes: int
    products: int
    gradients: float | None

    @staticmethod
    def of(samples: Tensor, operator: Meter, offset: float = 0.0) -> "Estimate[float]":
        """The mean of one number a probe, plus what is known without chance.

        Raises:
            ValueError: If it is not finite.
        """
        mean, probes = float(samples.double().mean()) + offset, len(samples)
        if not torch.isfinite(torch.tensor(mean)):
            raise ValueError(
                f"Products with the operator must be finite, got a mean of {mean}: "
                "look for nan and inf in the model's weights, data and loss."
            )
        stderr = float(samples.double().std()) / probes**0.5
        return Estimate(mean, stderr, probes, operator.products, operator.gradients)
