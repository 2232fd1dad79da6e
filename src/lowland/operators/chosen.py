"""Which parameters a problem is about."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from torch import nn

from lowland.checks import unknown
from lowland.engine.sites import Site, sites

__all__ = ["chosen"]


def chosen(model: nn.Module, params: str | Sequence[str]) -> dict[str, nn.Parameter]:
    """The trainable parameters that patterns on their names match, by name, in the model's order.

    Args:
        model: Whose.
        params: ``"all"``, or one or several patterns such as ``"blocks.*"``; a tied parameter matches by any name.

    Raises:
        LookupError: If a pattern matches nothing; the nearest names are said.
        TypeError: If they are not of one floating dtype.
        ValueError: If they are all frozen, or on several devices.
    """
    found = sites(model)
    patterns = ["*"] if params == "all" else [params] if isinstance(params, str) else list(params)
    for pattern in patterns:
        if not any(_matches(site, pattern) for site in found.values()):
            raise LookupError(unknown("parameter", pattern, found))
    matched = {name: site for name, site in found.items() if any(_matches(site, p) for p in patterns)}
    trainable = {name: site.parameter for name, site in matched.items() if site.parameter.requires_grad}
    _refuse(matched, trainable)
    return trainable


def _matches(site: Site, pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in site.aliases)


def _refuse(matched: Mapping[str, Site], trainable: Mapping[str, nn.Parameter]) -> None:
    if not trainable:
        raise ValueError(
            f"params must match trainable parameters, got frozen ones only, such as {next(iter(matched))!r}: "
            "call requires_grad_(True) on them."
        )
    kinds = sorted({str(p.dtype) for p in trainable.values()})
    if len(kinds) > 1 or "complex" in kinds[0]:
        raise TypeError(
            f"The parameters must be of one real dtype, got {', '.join(kinds)}: choose some with params=, or "
            "convert the model with .to()."
        )
    places = sorted({str(p.device) for p in trainable.values()})
    if len(places) > 1:
        raise ValueError(
            f"The parameters must be on one device, got {', '.join(places)}: choose some with params=."
        )
