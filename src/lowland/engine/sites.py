"""Where a model's parameters sit: what the filters of ``where=`` and ``radii=`` look at."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from lowland.checks import at_least, nearest

__all__ = ["Site", "Where", "factors", "refuse_non_module", "select", "sites"]


@dataclass(frozen=True)
class Site:
    """One parameter: its qualified name, the module that owns it (the first, if tied), and itself.

    Attributes:
        aliases: All its names; several if it is tied.
    """

    name: str
    module: nn.Module
    parameter: nn.Parameter
    aliases: tuple[str, ...] = ()


Where = Callable[[Site], bool] | str
"""Which parameters: a predicate on a :class:`Site`, or a pattern on the name such as ``"blocks.*.weight"``."""


def sites(model: nn.Module) -> dict[str, Site]:
    """Every parameter once, by name, a tied one under its first; prefixes of torch.compile are dropped.

    Raises:
        TypeError: If the model is no module.
        ValueError: If the model has no parameters, some are not initialised yet, or two share memory.
    """
    refuse_non_module(model)
    found: dict[int, Site] = {}
    for prefix, module in model.named_modules():
        for full, parameter in module.named_parameters(prefix=prefix, recurse=False):
            name = full.replace("_orig_mod.", "")
            site = found.get(id(parameter), Site(name, module, parameter))
            found[id(parameter)] = replace(site, aliases=(*site.aliases, name))
    if not found:
        raise ValueError(f"The model must have parameters, got {type(model).__name__} without any.")
    named = {site.name: site for site in found.values()}
    _check(named)
    return named


def refuse_non_module(model: object) -> None:
    """Refuse what is no module, such as a model's parameters or their masters, or none that can be looked into.

    Raises:
        TypeError: If it is none.
        NotImplementedError: If it was traced or scripted.
    """
    if isinstance(model, torch.jit.ScriptModule):
        raise NotImplementedError("The model must not be traced or scripted: bind the module that it was made of.")
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"The model must be a torch.nn.Module, got {type(model).__name__}: give the module itself."
        )


def _check(named: Mapping[str, Site]) -> None:
    homes: dict[int, str] = {}
    for name, site in named.items():
        if is_lazy(site.parameter):
            raise ValueError(f"Parameters must be initialised, got {name!r}, which is not: run a forward first.")
        address = site.parameter.data_ptr() if site.parameter.device.type != "meta" else 0
        if address and address in homes:
            raise ValueError(
                f"Parameters must not share memory, got {homes[address]!r} and {name!r}: tie them by assigning "
                "the parameter itself."
            )
        homes[address] = name


def select(found: Mapping[str, Site], where: Where | None) -> frozenset[str]:
    """The names that ``where`` picks; all of them for None.

    Raises:
        TypeError: If ``where`` is neither a pattern nor a predicate.
        ValueError: If it picks none; a pattern's nearest names are said.
    """
    if where is None:
        return frozenset(found)
    if not isinstance(where, str) and not callable(where):
        raise TypeError(f"where must be a pattern or a predicate, got {type(where).__name__}: 'blocks.*', say.")
    chosen = frozenset(name for name, site in found.items() if _matches(where, site))
    if not chosen:
        shown = repr(where) if isinstance(where, str) else getattr(where, "__name__", repr(where))
        close = _near(where, found) if isinstance(where, str) else []
        hint = f" Near it: {', '.join(close)}." if close else ""
        raise ValueError(f"where must pick at least one parameter, got {shown}, which picks none.{hint}")
    return chosen


def factors(found: Mapping[str, Site], radii: Mapping[str, float] | None) -> dict[str, float]:
    """How much longer or shorter each parameter's perturbation is than the method's, by name.

    Later patterns win. Names that no pattern matches are left out and count as 1.

    Raises:
        ValueError: If a factor is negative or a pattern matches nothing.
    """
    chosen: dict[str, float] = {}
    for pattern, factor in (radii or {}).items():
        at_least(f"radii[{pattern!r}]", factor, 0)
        chosen.update(dict.fromkeys(select(found, pattern), float(factor)))
    return chosen


def _near(pattern: str, names: Collection[str]) -> list[str]:
    inside = f"{pattern}.*"
    return [inside] if any(fnmatchcase(name, inside) for name in names) else nearest(pattern, names)


def _matches(where: Where, site: Site) -> bool:
    if isinstance(where, str):
        return any(fnmatchcase(name, where) for name in site.aliases or (site.name,))
    return bool(where(site))
