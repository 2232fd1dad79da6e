"""Finds things by listing folders: a file in ``methods/`` is a method, and its name is its public name.

Nothing is registered. The first name in a file's ``__all__`` is the thing that the file is named for.
"""

import ast
import importlib
import inspect
import math
import pkgutil
from types import ModuleType
from typing import Any

from lowland.checks import unknown
from lowland.own_file import own_file

__all__ = ["build", "load", "module", "names", "parse", "plain"]

KINDS = {
    "methods": "method",
    "penalties": "penalty",
    "measurements": "measurement",
    "models": "model",
    "data.sets": "data set",
    "data.pair_sets": "set of pairs",
    "studies": "study",
}


def names(folder: str) -> list[str]:
    """The public names in a folder, such as ``names("methods")``, without importing what they name."""
    package = importlib.import_module(f"lowland.{folder}")
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))


def module(folder: str, name: str) -> ModuleType:
    """The module behind a public name; ``look_sam``, ``look-sam`` and ``LookSAM`` are the same name.

    A name that ends in ``.py`` is the path of a file of your own.

    Raises:
        LookupError: If the folder has no such name; says the nearest ones.
        FileNotFoundError: If there is no such file.
    """
    if name.endswith(".py"):
        return own_file(name, KINDS.get(folder, folder))
    known = names(folder)
    file = next((own for own in known if plain(own) == plain(name)), None)
    if file is None:
        raise LookupError(unknown(KINDS.get(folder, folder), name, known))
    return importlib.import_module(f"lowland.{folder}.{file}")


def load(folder: str, name: str) -> Any:  # noqa: ANN401 - a folder's kind is known to the caller, not here
    """The thing a public name stands for, such as the class ``SAM`` for ``load("methods", "sam")``.

    It is the first name in ``__all__``; in a file of your own without ``__all__``, the first class defined there.

    Raises:
        LookupError: If there is no such name, or a file of your own holds no such thing.
    """
    found = module(folder, name)
    names = getattr(found, "__all__", None) or [n for n, v in vars(found).items() if _is_defined_in(v, found)]
    if not names:
        raise LookupError(f"{name} must define a class, or name what it offers in __all__; it does neither.")
    return getattr(found, names[0])


def parse(spec: str) -> tuple[str, str | None, dict[str, Any]]:
    """Split ``name.preset:key=value,key=value`` into its name, preset (or None) and arguments.

    Values are Python literals or ``inf``; anything else is text. Commas inside brackets belong to the value.

    Raises:
        ValueError: If an argument is not of the form ``key=value``.

    Example:
        >>> parse("asam.as_davda:rho=2.0")
        ('asam', 'as_davda', {'rho': 2.0})
        >>> parse("mlp:widths=(64,64),activation=gelu")
        ('mlp', None, {'widths': (64, 64), 'activation': 'gelu'})
    """
    head, _, tail = spec.partition(":")
    whole = head.strip().endswith(".py") or head.strip().startswith(".")  # a path
    name, _, preset = (head.strip(), "", "") if whole else head.strip().partition(".")
    arguments = dict(_pair(spec, text) for text in _split_outside_brackets(tail))
    return name, preset or None, arguments


def build(folder: str, spec: str, **context: Any) -> Any:  # noqa: ANN401 - see load
    """Build what a spec such as ``sam:rho=0.1`` describes; ``context`` is what the spec need not say.

    Raises:
        LookupError: If the name or the preset is unknown.
        TypeError: If an argument's name is unknown; the sentence names the spec.
    """
    name, preset, arguments = parse(spec)
    thing = load(folder, name)
    if preset is not None:
        presets = [p for p in vars(thing) if p.startswith("as_")]
        if preset not in presets:
            raise LookupError(unknown(f"preset of {name}", preset, presets or ["(none)"]))
        thing = getattr(thing, preset)
    try:
        return thing(**{**context, **arguments})
    except TypeError as error:
        takes = [name for name in inspect.signature(thing).parameters if name not in context]
        hint = f" It takes: {', '.join(takes)}." if set(arguments) - set(takes) else ""
        raise TypeError(f"{spec!r} cannot be built: {str(error).rstrip('.')}.{hint}") from error


def plain(name: str) -> str:
    """A name without its punctuation and capitals: ``looksam`` of ``look_sam``, ``look-sam`` and ``LookSAM``."""
    return name.replace("-", "").replace("_", "").lower()


def _is_defined_in(value: object, module: ModuleType) -> bool:
    return isinstance(value, type) and value.__module__ == module.__name__


def _pair(spec: str, text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip().isidentifier():
        raise ValueError(f"Write arguments as name:key=value,key=(value,value); got {text.strip()!r} in {spec!r}.")
    if value.strip() == "inf":
        return key.strip(), math.inf
    try:
        return key.strip(), ast.literal_eval(value.strip())
    except (ValueError, SyntaxError):
        return key.strip(), value.strip()


def _split_outside_brackets(text: str) -> list[str]:
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part for part in parts if part.strip()]
