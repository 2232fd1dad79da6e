"""Stochastic weight averaging."""

from dataclasses import dataclass

from torch import Tensor

from lowland.penalties._parts.weight_average import Averaging

__all__ = ["SWA"]


@dataclass(frozen=True, kw_only=True)
class SWA(Averaging):
    r"""The equal average of the weights along the way, :math:`\bar w \leftarrow \bar w + (w - \bar w) / (m + 1)`.

    :math:`m` weights are in the average before. Training goes as without it; evaluate inside ``averaged()``, and
    call ``update_batch_norm`` there if the model has batch norm.

    Attributes:
        start: Optimiser steps before the first weights that count, >= 0: three quarters of the training.
        every: Optimiser steps from one addition to the next, >= 1: those of an epoch, or of a cycle of the
            learning rate, at whose end the weights are to be taken.

    Example:
        >>> from torch import nn, optim
        >>> model = nn.Linear(1, 1)
        >>> average = SWA(start=2).bind(model, optimizer := optim.SGD(model.parameters(), lr=0.1))
        >>> for _ in range(5):
        ...     _ = optimizer.step()
        >>> average.additions  # after steps 2, 3, 4 and 5
        4

    Cost:
        No pass. One copy of the trained weights from the first addition on, in at least float32; one more inside
        ``averaged()``.

    References:
        Izmailov, Podoprikhin, Garipov, Vetrov, Wilson, Averaging Weights Leads to Wider Optima and Better
        Generalization, UAI 2018, algorithm 1. https://arxiv.org/abs/1803.05407
    """

    def share(self, earlier: int | Tensor) -> float | Tensor:
        """The same for all."""
        return 1 / (earlier + 1)
