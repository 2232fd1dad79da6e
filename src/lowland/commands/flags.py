"""A frozen dataclass of settings as command-line flags, nested ones as ``--outer.inner``."""

import dataclasses
import inspect
import shlex
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Group, Parameter, Token

from lowland.commands.prose import readable
from lowland.commands.source import helps

__all__ = ["command_line", "parameters", "rebuild"]


@dataclass(frozen=True)
class _Flag:
    """One setting: where it is, what it is."""

    path: tuple[str, ...]
    kind: Any
    value: object
    help: str

    @property
    def name(self) -> str:
        return "--" + ".".join(part.replace("_", "-") for part in self.path)

    @property
    def variable(self) -> str:
        return "__".join(self.path)


def parameters(
    base: object, group: str = "Settings of the study", *, order: int = 0, negative: bool = True
) -> list[inspect.Parameter]:
    """Keyword parameters for cyclopts, one per setting.

    Args:
        base: A dataclass; gives the defaults.
        group: Heading in the help.
        order: Place of the heading among others.
        negative: Whether a boolean also gets a ``--no-`` flag.
    """
    heading = Group(group, sort_key=order)
    return [_parameter(flag, heading, negative) for flag in _flags(base)]


def rebuild(base: Any, values: Mapping[str, object]) -> Any:  # noqa: ANN401 - the same kind as base
    """A copy of ``base`` with the values of the parameters, by their names."""
    changes = {}
    for field in dataclasses.fields(base):
        old = getattr(base, field.name)
        inner = {n.partition("__")[2]: v for n, v in values.items() if n.startswith(f"{field.name}__")}
        changes[field.name] = rebuild(old, inner) if inner else values.get(field.name, old)
    return dataclasses.replace(base, **changes)


def command_line(base: object, config: object) -> str:
    """The flags that turn ``base`` into ``config``, as one would type them."""
    words: list[str] = []
    for before, now in zip(_flags(base), _flags(config), strict=True):
        if before.value != now.value:
            words += _words(now)
    return shlex.join(words)


def _flags(base: object, path: tuple[str, ...] = ()) -> Iterator[_Flag]:
    texts = helps(type(base))
    kinds = typing.get_type_hints(type(base))
    for field in dataclasses.fields(base):  # type: ignore[arg-type] - a dataclass, as the study's contract says
        value, here = getattr(base, field.name), (*path, field.name)
        if dataclasses.is_dataclass(value):
            yield from _flags(value, here)
        else:
            yield _Flag(here, kinds[field.name], value, texts.get(field.name, ""))


def _parameter(flag: _Flag, group: Group, negative: bool) -> inspect.Parameter:
    several = typing.get_origin(flag.kind) in (tuple, list)
    setting = Parameter(
        name=flag.name,
        help=readable(flag.help) or None,
        group=group,
        consume_multiple=several or None,
        converter=_whole if flag.kind is int else None,
        show_default=_shown(flag.value),
        negative=None if negative else (),
        negative_iterable=(),
    )
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(flag.variable, kind, default=flag.value, annotation=Annotated[flag.kind, setting])


def _whole(kind: type, tokens: Sequence[Token]) -> int:
    """A whole number, and nothing else: cyclopts alone would take 1.5 for 1.

    Raises:
        ValueError: If it is anything else.
    """
    text = tokens[0].value
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"must be a whole number, got {text}.") from None


def _shown(value: object) -> bool | Callable[[Any], str]:
    """How a default is shown in the help: several values as one would type them, a flag that is off not at all."""
    if isinstance(value, tuple | list):
        return lambda values: shlex.join(map(str, values))
    return value is not False


def _words(flag: _Flag) -> list[str]:
    if isinstance(flag.value, bool):
        *outer, last = flag.name[2:].split(".")
        return [flag.name if flag.value else "--" + ".".join([*outer, f"no-{last}"])]
    if isinstance(flag.value, tuple | list):
        return [flag.name, *map(str, flag.value)]
    return [flag.name, str(flag.value)]
