"""Makes a model call its inner modules one by one: fused attention and compiled code skip them and their hooks."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import nn

from lowland.shield import Shield

__all__ = ["caller", "unfused"]


@contextmanager
def unfused() -> Iterator[None]:
    """Inside, PyTorch's fused transformer layers and everything compiled run module by module.

    In eval mode ``nn.TransformerEncoder``, ``nn.TransformerEncoderLayer`` and ``nn.MultiheadAttention`` may take a
    path in which inner modules do not run, or answer with nested tensors; and code compiled before a hook was set
    does not call it. Both switches are global to the process, and come back as they were, on exceptions and
    Ctrl-C too.

    Yields:
        Nothing.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    compiler = sys.modules.get("torch._dynamo")  # without it nothing is compiled, and importing it takes seconds
    with Shield() as shield:
        try:
            torch.backends.mha.set_fastpath_enabled(False)
            eager = torch.compiler.set_stance("force_eager") if compiler else nullcontext()
            with eager, shield.opened():
                yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fused)


def caller(model: nn.Module, name: str) -> nn.Module:
    """The module that runs when layer ``name`` computes: itself, but for one that no path calls.

    ``nn.MultiheadAttention`` multiplies by the weights of its ``out_proj`` without calling it; what that layer
    would answer is the attention's own answer.
    """
    layer, parent = model.get_submodule(name), model.get_submodule(name.rpartition(".")[0])
    return parent if isinstance(parent, nn.MultiheadAttention) and layer is parent.out_proj else layer
