"""The state in which derivatives of derivatives are taken, and the way back."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from lowland.engine.randomness import Randomness
from lowland.observe.ordinary import ordinary
from lowland.observe.unfused import unfused
from lowland.shield import Shield

__all__ = ["calm", "devices", "renew_buffers", "seeded"]


@contextmanager
def calm(modules: Sequence[nn.Module], training: bool) -> Iterator[None]:
    """Inside, a model is in one mode and every operation has a second derivative.

    Attention is computed by its formula and not by a fused kernel, the fast path of
    :class:`torch.nn.TransformerEncoderLayer`, cuDNN's LSTM, autocast and inference mode are off, and compiled code
    runs uncompiled. Modes, buffers, random streams and switches come back, on exceptions and Ctrl-C too; weights
    and gradients are not touched.

    Args:
        modules: The model, then all modules in it.
        training: Its mode.
    """
    with Shield() as shield, ordinary(), torch.enable_grad():
        modes = [(module, module.training) for module in modules]
        buffers = [(module._buffers, dict(module._buffers)) for module in modules if module._buffers]
        written = [t for _, own in buffers for t in own.values() if t is not None and not t.is_inference()]
        copies = [(t, t._version, t.detach().clone()) for t in written]
        chance = Randomness(devices(modules))
        state, cudnn = chance.state(), torch.backends.cudnn.enabled
        try:
            torch.backends.cudnn.enabled = cudnn and not any(isinstance(module, nn.RNNBase) for module in modules)
            if any(mode != training for _, mode in modes):
                modules[0].train(training)
            with unfused(), sdpa_kernel(SDPBackend.MATH), shield.opened():
                yield
        finally:
            torch.backends.cudnn.enabled = cudnn
            chance.set(state)
            for store, own in buffers:
                store.update(own)
            _write_back(copies)
            for module, mode in modes:
                module.training = mode


@torch.no_grad()
def _write_back(copies: Iterable[tuple[Tensor, int, Tensor]]) -> None:
    """Undo what was written to buffers; others stay untouched, as kept graphs may need them as they are."""
    for t, version, copy in copies:
        if t._version != version:
            t.copy_(copy)


def devices(modules: Iterable[nn.Module]) -> set[torch.device]:
    """Where the modules' parameters are."""
    return {p.device for module in modules for p in module._parameters.values() if p is not None}


def renew_buffers(model: nn.Module) -> None:
    """Give the model copies of its buffers; inside :func:`calm`, which brings the own ones back.

    In training mode every forward pass writes to them, and graphs of earlier passes must not notice.
    """
    for module in model.modules():
        for name, t in module._buffers.items():
            module._buffers[name] = None if t is None else t.clone()


def seeded(places: Iterable[torch.device], seed: int) -> None:
    """Let PyTorch's generators start from a seed, on the CPU and on some devices, and nowhere else."""
    drawing = sorted({place for place in places if place.type not in ("cpu", "meta")}, key=str)
    states = [torch.Generator(place).manual_seed(seed).get_state() for place in ("cpu", *drawing)]
    Randomness(drawing).set(states)
