"""How a problem is looked at."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

__all__ = ["EngineName", "Loss", "Settings"]

Loss = Callable[[Any, Any], Tensor]
"""Maps the model's outputs and the targets (the whole batch, where that is a mapping) to their mean loss."""

EngineName = Literal["auto", "double_backward", "finite_difference"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The choices that :func:`lowland.problem` explains."""

    mode: Literal["eval", "train"] = "eval"
    engine: EngineName = "auto"
    memory: float = 2e9
    autocast: torch.dtype | None = None
    check: bool = True
    seed: int = 0
