"""Mixed precision: the forward pass in a narrower type, and the scaler that float16 needs."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

__all__ = ["NAMES", "Autocast", "forward", "scaler"]

NAMES = ("off", "bf16", "fp16")
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Autocast(nn.Module):
    """A model's forward pass under autocast, with its floating-point outputs in float32.

    Entered anew in every pass, so that no cast of earlier (or perturbed) weights is ever used again. The loss
    is computed outside, in float32.
    """

    def __init__(self, model: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        self.model, self._device, self._dtype = model, device.type, dtype

    def forward(self, *positions: Any, **keywords: Any) -> Any:  # noqa: ANN401 - as the model has it
        """The outputs of the model."""
        with torch.autocast(self._device, self._dtype):
            outputs = self.model(*positions, **keywords)
        return pytree.tree_map(_wide, outputs)


def forward(model: nn.Module, amp: str, device: torch.device) -> nn.Module:
    """What to call in place of ``model``: itself where ``amp`` is ``off``, else it under autocast."""
    return model if amp == "off" else Autocast(model, device, TYPES[amp])


def scaler(amp: str, device: torch.device) -> torch.amp.GradScaler | None:
    """A gradient scaler for ``fp16``; None for the others, whose range does not need one."""
    return torch.amp.GradScaler(device.type) if amp == "fp16" else None


def _wide(value: Any) -> Any:  # noqa: ANN401
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
