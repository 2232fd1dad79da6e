"""The weight matrices of a model, by the names of their parameters."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from lowland.observe.features import refuse_unknown

__all__ = ["Weight", "weights"]

KERNEL_DIMENSIONS = 4


@dataclass(frozen=True, kw_only=True)
class Weight:
    """One weight matrix."""

    name: str
    """Name of its parameter, such as ``blocks.0.expand.weight``."""
    layer: nn.Module
    """The module it belongs to."""
    shape: tuple[int, ...]
    """Its own shape."""
    matrix: Tensor
    """The weight as a matrix (rows, columns), a view where possible."""


def weights(model: nn.Module, layers: str | tuple[str, ...] | None = None) -> list[Weight]:
    """Every weight matrix of ``model``, or of ``layers`` and all that is inside them.

    Kernels of convolutions become (out, in k k), transposed ones too. Of other parameters with more than two
    dimensions the last one is the columns, so that stacked matrices stand below each other; those with a single
    row, such as class tokens, are no matrices, nor are parameters with fewer than two dimensions. A parametrised
    weight is read as the layer uses it. A weight that several layers share appears once.

    Args:
        model: Any module.
        layers: Names of layers; None: all.

    Returns:
        The matrices, in the model's order.

    Raises:
        LookupError: If a layer is unknown (says the nearest), or holds no weight matrix.
        ValueError: If a weight is not finite.
    """
    model = getattr(model, "_orig_mod", model)  # as torch.compile wraps it
    named = (layers,) if isinstance(layers, str) else layers
    refuse_unknown(model, named or ())
    found = [w for w in _all(model) if named is None or any(_is_inside(w, name) for name in named)]
    for name in named or ():
        if not any(_is_inside(weight, name) for weight in found):
            raise LookupError(f"Layer {name!r} must hold a weight matrix, got none. Name another layer.")
    for weight in found:
        if not torch.isfinite(weight.matrix).all():
            raise ValueError(f"Weight {weight.name!r} must be finite, got inf or nan. Has training diverged?")
    return found


def _is_inside(weight: Weight, layer: str) -> bool:
    return weight.name.startswith(f"{layer}.")


def _all(model: nn.Module) -> Iterator[Weight]:
    seen: dict[int, Tensor] = {}  # holds them, so that no two have one id
    for name, layer, weight in _tensors(model):
        matrix = _matrix(layer, weight.detach())
        if matrix is not None and id(weight) not in seen:
            seen[id(weight)] = weight
            yield Weight(name=name, layer=layer, shape=tuple(weight.shape), matrix=matrix)


def _tensors(model: nn.Module) -> Iterator[tuple[str, nn.Module, Tensor]]:
    """Every floating parameter; parametrised ones as the layer uses them, not as they are stored."""
    for prefix, layer in model.named_modules():
        if "parametrizations" in prefix.split("."):
            continue
        for name in (*layer._parameters, *getattr(layer, "parametrizations", ())):
            tensor = getattr(layer, name)
            if tensor is not None and tensor.is_floating_point():
                yield f"{prefix}.{name}".removeprefix("."), layer, tensor


def _matrix(layer: nn.Module, weight: Tensor) -> Tensor | None:
    if weight.ndim < 2:
        return None
    if isinstance(layer, _ConvTransposeNd):
        grouped = weight.unflatten(0, (layer.groups, -1))  # (groups, in / groups, out / groups, *k)
        return grouped.transpose(1, 2).flatten(0, 1).flatten(1)
    if isinstance(layer, _ConvNd) or weight.ndim >= KERNEL_DIMENSIONS:
        return weight.flatten(1)
    matrix = weight.flatten(0, -2)
    return matrix if weight.ndim == 2 or len(matrix) > 1 else None
