"""Where a model's parameters sit: what the filters of ``where=`` and ``radii=`` look at."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from lowland.checks import at_least, nearest

__all__ = ["Site", "Where", "factors", "select", "sites"]


@dataclass(frozen=True)
class Site:
    """One parameter: its qualified name, the module that owns it (the first, if tied), and itself."""

    name: str
    module: nn.Module
    parameter: nn.Parameter


Where = Callable[[Site], bool] | str
"""Which parameters: a predicate on a :class:`Site`, or a pattern on the name such as ``"blocks.*.weight"``."""


def sites(model: nn.Module) -> dict[str, Site]:
    """Every parameter once, by name; a tied parameter under its first name.

    Raises:
        ValueError: If the model has no parameters.
    """
    found: dict[str, Site] = {}
    seen: set[int] = set()
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(prefix=prefix, recurse=False):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                found[name] = Site(name, module, parameter)
    if not found:
        raise ValueError(f"The model must have parameters, got {type(model).__name__} without any.")
    return found


def select(found: Mapping[str, Site], where: Where | None) -> frozenset[str]:
    """The names that ``where`` picks; all of them for None.

    Raises:
        ValueError: If it picks none; a pattern's nearest names are said.
    """
    if where is None:
        return frozenset(found)
    chosen = frozenset(name for name, site in found.items() if _matches(where, site))
    if not chosen:
        shown = repr(where) if isinstance(where, str) else getattr(where, "__name__", repr(where))
        close = nearest(where, found) if isinstance(where, str) else []
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


def _matches(where: Where, site: Site) -> bool:
    return fnmatchcase(site.name, where) if isinstance(where, str) else bool(where(site))
