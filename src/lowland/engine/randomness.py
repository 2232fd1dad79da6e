"""PyTorch's random state on the CPU and on the accelerators that a model uses."""

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["Randomness"]


class Randomness:
    """Reads and writes the states of PyTorch's default generators.

    Python's and NumPy's generators are not covered: a closure that draws from them draws anew in each pass.
    """

    def __init__(self, devices: Iterable[torch.device]) -> None:
        drawing = {device for device in devices if device.type not in ("cpu", "meta")}
        self._devices = sorted(drawing, key=str)

    def state(self) -> list[Tensor]:
        """The state of every generator; kept on the host, so reading it does not wait for the device."""
        others = [torch.get_device_module(d).get_rng_state(*_address(d)) for d in self._devices]
        return [torch.get_rng_state(), *others]

    def set(self, state: list[Tensor]) -> None:
        """Bring the generators to ``state``."""
        torch.set_rng_state(state[0])
        for device, one in zip(self._devices, state[1:], strict=True):
            torch.get_device_module(device).set_rng_state(one, *_address(device))


def _address(device: torch.device) -> tuple[torch.device, ...]:
    return () if device.type == "mps" else (device,)  # Apple's devices have one generator and take no name
