"""Exponential moving average of the weights that does not favour the first ones."""

from dataclasses import dataclass

from torch import Tensor

from lowland.checks import fraction
from lowland.penalties._parts.weight_average import Averaging

__all__ = ["DebiasedEMA"]


@dataclass(frozen=True, kw_only=True)
class DebiasedEMA(Averaging):
    r"""The weights weighed by :math:`\beta^{t-i}`: :math:`\bar w_t = \sum_i \beta^{t-i} w_i / \sum_i \beta^{t-i}`.

    An equal average at first, that of :class:`~lowland.penalties.ema.EMA` later: its decay warms up as Adam's
    correction of running means does. Each addition moves it the part
    :math:`(1 - \beta) / (1 - \beta^t)` of the way.

    Attributes:
        decay: :math:`\beta`, in [0, 1). The average reaches back about 1 / (1 - decay) additions.

    Cost:
        No pass. One copy of the trained weights from the first addition on, in at least float32; one more inside
        ``averaged()``.

    References:
        Kingma, Ba, Adam: A Method for Stochastic Optimization, ICLR 2015, section 3.
        https://arxiv.org/abs/1412.6980
    """

    decay: float = 0.999

    def __post_init__(self) -> None:
        super().__post_init__()
        fraction("decay", self.decay, one=False)

    def share(self, earlier: int | Tensor) -> float | Tensor:
        """From 1 down to ``1 - decay``."""
        return (1 - self.decay) / (1 - self.decay ** (earlier + 1))
