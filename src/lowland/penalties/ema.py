"""Exponential moving average of the weights."""

from dataclasses import dataclass

from torch import Tensor

from lowland.checks import fraction
from lowland.penalties._parts.weight_average import Averaging

__all__ = ["EMA"]


@dataclass(frozen=True, kw_only=True)
class EMA(Averaging):
    r"""An average that forgets, :math:`\bar w \leftarrow \beta \bar w + (1 - \beta) w`.

    It begins as the first weights that count, which keep the part :math:`\beta^t` of it after :math:`t` more; see
    :class:`~lowland.penalties.debiased_ema.DebiasedEMA` for one that does not favour them.

    Attributes:
        decay: :math:`\beta`, in [0, 1]. The average reaches back about 1 / (1 - decay) additions.

    Cost:
        No pass. One copy of the trained weights from the first addition on, in at least float32; one more inside
        ``averaged()``.

    References:
        Tarvainen, Valpola, Mean Teachers Are Better Role Models, NeurIPS 2017. https://arxiv.org/abs/1703.01780
        Computes what ``torch.optim.swa_utils.AveragedModel`` does with ``get_ema_multi_avg_fn(decay)``.
    """

    decay: float = 0.999

    def __post_init__(self) -> None:
        super().__post_init__()
        fraction("decay", self.decay)

    def share(self, earlier: int | Tensor) -> float | Tensor:
        """The same at every addition."""
        return 1 - self.decay
