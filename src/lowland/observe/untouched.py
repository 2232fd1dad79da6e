"""A guard: whatever happens inside, the model and the random streams come out bit for bit as they went in."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from lowland.observe.ordinary import ordinary
from lowland.shield import Shield

__all__ = ["untouched"]

BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""The whole-number dtype of each size in bytes, to compare floats bit by bit."""


@contextmanager
def untouched(model: nn.Module) -> Iterator[nn.Module]:
    """Leave no trace on ``model`` or on the random streams, on exceptions and Ctrl-C too.

    Kept: every parameter and buffer (the object and its bits, persistent or not), ``requires_grad``, ``.grad``,
    the train/eval flag of every module, whether gradients are enabled, and the random states of torch (CPU, CUDA,
    MPS), Python and NumPy. Inside, ``.grad`` is None and inference mode off, so a measurement may call backward;
    autocast is off, so it computes in its own precision. A tensor that was not changed is not written to, so a
    graph that the caller still holds stays valid. Attributes that are not buffers are not kept.

    Args:
        model: Any module, on any devices.

    Yields:
        The same model.

    Raises:
        ValueError: If the model has lazy parameters: their first pass would leave a trace.

    Cost:
        One copy of the weights and buffers while inside, one comparison of them at the end.

    Example:
        >>> layer = nn.Dropout()
        >>> with untouched(layer):
        ...     _ = layer.eval()
        >>> layer.training
        True
    """
    _refuse_lazy(model)
    with Shield() as shield, ordinary():
        modules = [_KeptModule.of(m) for m in model.modules()]
        tensors = [_KeptTensor.of(t) for t in {id(t): t for t in _tensors(model)}.values()]
        streams, grad = _random_states(), torch.is_grad_enabled()
        try:
            for kept in tensors:
                kept.set_grad(None)
            with shield.opened():
                yield model
        finally:
            torch.set_grad_enabled(grad)
            for kept in modules:
                kept.restore()
            for kept in tensors:
                kept.restore()
            _restore_random_states(streams)


@dataclass(frozen=True)
class _KeptModule:
    """The mode of a module, and which objects are its own parameters and buffers."""

    module: nn.Module
    training: bool
    parameters: dict[str, nn.Parameter | None]
    buffers: dict[str, Tensor | None]

    @classmethod
    def of(cls, module: nn.Module) -> "_KeptModule":
        return cls(module, module.training, dict(module._parameters), dict(module._buffers))

    def restore(self) -> None:
        self.module.training = self.training
        self.module._parameters.clear()
        self.module._parameters.update(self.parameters)
        self.module._buffers.clear()
        self.module._buffers.update(self.buffers)


@dataclass(frozen=True)
class _KeptTensor:
    """The bits, gradient and flag of a parameter or buffer."""

    tensor: Tensor
    copy: Tensor
    requires_grad: bool
    grad: Tensor | None

    @classmethod
    def of(cls, tensor: Tensor) -> "_KeptTensor":
        grad = tensor.grad if tensor.is_leaf else None
        return cls(tensor, tensor.detach().clone(), tensor.requires_grad, grad)

    def set_grad(self, grad: Tensor | None) -> None:
        if self.tensor.is_leaf:
            self.tensor.grad = grad

    def restore(self) -> None:
        self._restore_bits()
        if self.tensor.is_leaf:
            self.tensor.requires_grad_(self.requires_grad)
        self.set_grad(self.grad)

    @torch.no_grad()
    def _restore_bits(self) -> None:
        if _kind(self.tensor) != _kind(self.copy):
            self.tensor.data = self.copy
        elif not _same_bits(self.tensor, self.copy):
            self.tensor.copy_(self.copy)


def _refuse_lazy(model: nn.Module) -> None:
    lazy = [name for name, p in model.named_parameters() if is_lazy(p)]
    if lazy:
        raise ValueError(f"model must be initialised, got lazy {lazy[0]!r}. Run one batch through it first.")


def _kind(tensor: Tensor) -> tuple[object, ...]:
    return tensor.shape, tensor.dtype, tensor.device, tensor.layout


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def _same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of one kind are equal to the bit: nan equals itself, -0 is not 0."""
    bits = BITS.get(a.element_size())
    if bits is None or a.layout != torch.strided:
        return False
    return torch.equal(a.view(bits), b.view(bits))


def _random_states() -> dict[str, Any]:
    states: dict[str, Any] = {"torch": torch.get_rng_state()}
    states["python"] = random.getstate()
    states["numpy"] = np.random.get_state()
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state_all()
    if torch.backends.mps.is_available():
        states["mps"] = torch.mps.get_rng_state()
    return states


def _restore_random_states(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    if "cuda" in states:
        torch.cuda.set_rng_state_all(states["cuda"])
    if "mps" in states:
        torch.mps.set_rng_state(states["mps"])
