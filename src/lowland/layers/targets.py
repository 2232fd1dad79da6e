"""Which weights of a model are to be expanded: found by the names of layers, tied ones together."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from lowland.checks import unknown
from lowland.layers.expanded import Expanded

__all__ = ["Target", "targets"]

PROJECTIONS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


@dataclass(frozen=True, kw_only=True)
class Target:
    """One place where a weight is used.

    Attributes:
        name: Of the layer, empty for the model itself.
        layer: The module.
        attribute: Name of its parameter.
    """

    name: str
    layer: nn.Module
    attribute: str


def targets(model: nn.Module, include: Sequence[str], exclude: Sequence[str]) -> list[list[Target]]:
    """The weights to expand, in the model's order, each with all places where it is used.

    Args:
        model: Any module.
        include: Patterns such as ``blocks.*``, for names of layers and of what they are in; empty: all layers.
        exclude: Patterns of layers to leave alone.

    Returns:
        A list for each weight; the first place is a layer that was picked.

    Raises:
        LookupError: If a pattern fits no linear or convolutional layer or attention; says the nearest.
        ValueError: If nothing is left, a weight is shared with a layer that is excluded by name or an embedding
            that changes it, or a weight is no parameter of its own.
    """
    known = _candidates(model)
    if not known:
        raise ValueError(
            f"The model must have linear or convolutional layers, got {type(model).__name__} without."
        )
    _refuse_unknown(known, [*include, *exclude])
    out = [target for target in known if _fits(target.name, exclude)]
    chosen = [t for t in known if t not in out and (not include or _fits(t.name, include))]
    if not chosen:
        raise ValueError(f"exclude must leave a layer to expand, got {list(exclude)}, which leaves none.")
    for target in chosen:
        _refuse_unfit(target)
    found: dict[int, list[Target]] = {}
    for target in chosen:
        found.setdefault(id(_weight(target)), []).append(target)
    for target in _everywhere(model):
        places = found.get(id(_weight(target)), [target])
        if target not in places:
            _refuse_shared(target, places[0], out)
            places.append(target)
    return list(found.values())


def _candidates(model: nn.Module) -> list[Target]:
    inside = {inner for layer in model.modules() if isinstance(layer, Expanded) for inner in layer.modules()}
    return [
        Target(name=name, layer=layer, attribute=attribute)
        for name, layer in model.named_modules()
        for attribute in _attributes(layer)
        if layer not in inside or isinstance(layer, Expanded)
    ]


def _attributes(layer: nn.Module) -> list[str]:
    """The parameters of a layer that are matrices or kernels."""
    if isinstance(layer, nn.Linear | _ConvNd | Expanded):
        return ["weight"]
    if isinstance(layer, nn.MultiheadAttention):
        return [name for name in PROJECTIONS if getattr(layer, name) is not None]
    return []


def _everywhere(model: nn.Module) -> list[Target]:
    """Every parameter, wherever it is used."""
    return [
        Target(name=name, layer=layer, attribute=attribute)
        for name, layer in model.named_modules()
        for attribute in layer._parameters
    ]


def _weight(target: Target) -> object:
    return target.layer._parameters[target.attribute]


def _fits(name: str, patterns: Sequence[str]) -> bool:
    """Whether a pattern fits a layer's name, or that of something it is in."""
    parts = name.split(".")
    names = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
    return any(fnmatchcase(each, pattern) for each in names for pattern in patterns)


def _refuse_unknown(known: Sequence[Target], patterns: Sequence[str]) -> None:
    names = list(dict.fromkeys(target.name for target in known))
    for pattern in patterns:
        if not any(_fits(name, [pattern]) for name in names):
            raise LookupError(unknown("linear or convolutional layer or attention", pattern, names))


def _refuse_unfit(target: Target) -> None:
    name = f"{target.name}.{target.attribute}".removeprefix(".")
    if parametrize.is_parametrized(target.layer) or isinstance(target.layer, Expanded):
        raise ValueError(
            f"Weight {name!r} must not be expanded or parametrised already, got {type(target.layer).__name__}: "
            "collapse it, remove the parametrisation, or exclude the layer."
        )
    weight = target.layer._parameters.get(target.attribute)
    if weight is None:
        raise ValueError(
            f"Weight {name!r} must be a parameter, but a hook computes it: remove the hook or exclude the layer."
        )
    if is_lazy(weight):
        raise ValueError(f"Weight {name!r} must be initialised, got one that is not: run a forward first.")
    if not weight.is_floating_point():
        raise ValueError(f"Weight {name!r} must be of real numbers, got {weight.dtype}: exclude the layer.")


def _refuse_shared(target: Target, chosen: Target, out: Sequence[Target]) -> None:
    if any(target.layer is other.layer for other in out):
        raise ValueError(
            f"Layers {chosen.name!r} and {target.name!r} share their weight, so exclude must name both or neither."
        )
    layer = target.layer
    if isinstance(layer, nn.Embedding | nn.EmbeddingBag) and (layer.max_norm is not None or layer.sparse):
        raise ValueError(
            f"Embedding {target.name!r}, which shares its weight with {chosen.name!r}, must have neither max_norm "
            f"nor sparse gradients, got max_norm={layer.max_norm}, sparse={layer.sparse}: exclude {chosen.name!r}."
        )
