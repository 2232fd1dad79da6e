"""The state in which numbers are what they look like, whatever the caller has switched on."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

__all__ = ["as_ordinary", "ordinary"]

KINDS = ("cpu", "cuda", "mps", "xpu")
"""Of devices, each with an autocast of its own."""


@contextmanager
def ordinary() -> Iterator[None]:
    """Inside, the caller's autocast and inference mode are off.

    So products have the dtype of their factors, and of tensors made inside derivatives can be taken. An autocast
    entered inside keeps no casts of weights: PyTorch would keep them until the outermost one ends, the caller's,
    and look for them by address, where other weights may be by then.

    Yields:
        Nothing.
    """
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        for kind in KINDS:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False, cache_enabled=False))
        yield


def as_ordinary(t: Tensor) -> Tensor:
    """The tensor itself, or a copy of one that was made in inference mode, which no graph could hold."""
    return t.clone() if t.is_inference() else t
