"""The outputs of named layers, read by hooks in the model's own forward pass."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import activation

from lowland.checks import unknown
from lowland.observe.forward import first_tensor, given_tensor
from lowland.observe.unfused import caller, unfused
from lowland.shield import Shield

__all__ = ["ACTIVATIONS", "default_layers", "features", "layer_of", "refuse_unknown"]

ACTIVATIONS = tuple(getattr(activation, name) for name in activation.__all__)


Reader = Callable[[str, Tensor, Tensor | None], None]
"""Takes the site, the tensor it answered with and the first one it was given, None if it was given none. Both are
lent for the call: a later layer may overwrite them."""


@contextmanager
def features(model: nn.Module, layers: Sequence[str], read: Reader) -> Iterator[Counter[str]]:
    """Hand the outputs of ``layers`` to ``read`` while the model runs; no hook is left, on Ctrl-C neither.

    Works with any module and any control flow: nothing is traced. While there are layers to read, what PyTorch
    fuses or has compiled runs module by module (:func:`lowland.observe.unfused.unfused`), so that every layer can
    be named. A layer that answers with a tuple, list or mapping is read at its first tensor. A layer that is
    called again in one pass (a shared activation) is read at every call: ``act`` is the first site, ``act#2`` the
    second.

    Args:
        model: Any module.
        layers: Names as in ``model.named_modules()``.
        read: Called in the middle of the forward pass, with a site, its detached output and its detached input.

    Yields:
        How often each layer was called; clear it between two passes.

    Raises:
        LookupError: If the model has no such layer; says the nearest.
        TypeError: If a layer's output holds no tensor (raised by the forward pass).

    Cost:
        That of ``read``; nothing is copied.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU())
        >>> with features(model, ["1"], lambda site, value, given: print(site, *value.shape, given.shape)):
        ...     _ = model(torch.ones(5, 2, 2))
        1 5 3 torch.Size([5, 4])
    """
    refuse_unknown(model, layers)
    calls: Counter[str] = Counter()
    with Shield() as shield, ExitStack() as hooks:
        for name in layers:
            hooks.callback(caller(model, name).register_forward_hook(_hook(name, calls, read)).remove)
        with unfused() if layers else nullcontext(), shield.opened():
            yield calls


def default_layers(model: nn.Module) -> list[str]:
    """The layers to measure when nobody names them, in the model's order.

    ``model.layers`` where that is a tuple or list of names; else every innermost module that is an activation
    or has parameters.

    Example:
        >>> default_layers(nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Dropout()))
        ['1', '2']
    """
    stated = getattr(model, "layers", None)
    if isinstance(stated, tuple | list) and stated and all(isinstance(name, str) for name in stated):
        return list(stated)
    return [name for name, module in model.named_modules() if name and _is_worth_reading(module)]


def layer_of(site: str) -> str:
    """The layer behind a site: ``act`` for ``act`` as for ``act#2``."""
    return site.partition("#")[0]


def refuse_unknown(model: nn.Module, layers: Sequence[str]) -> None:
    """Refuse names that are not modules of ``model``.

    Raises:
        LookupError: If there is one; says the nearest, then all.
    """
    known = [name for name, _ in model.named_modules() if name]
    for name in layers:
        if name not in known:
            raise LookupError(unknown("layer", name, known))


def _is_worth_reading(module: nn.Module) -> bool:
    innermost = next(module.children(), None) is None
    own_parameters = next(module.parameters(recurse=False), None) is not None
    file = type(module).__module__.rpartition(".")[2]  # transformers and timm keep theirs in "activations"
    return innermost and (own_parameters or isinstance(module, ACTIVATIONS) or file == "activations")


def _hook(name: str, calls: Counter[str], read: Reader) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:  # noqa: ANN401 - a layer's business
        calls[name] += 1
        site = name if calls[name] == 1 else f"{name}#{calls[name]}"
        read(site, first_tensor(output, f"layer {name!r}").detach(), given_tensor(args))

    return hook
