"""``lowland show``: everything about one thing."""

import re

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lowland.commands.door import door
from lowland.commands.kinds import Kind, find
from lowland.commands.prose import flowing, readable
from lowland.commands.source import Field, Source, read, sections

__all__ = ["show"]

SHOWN_AS_TABLE = ("Args", "Attributes", "Raises", "Example")


def show(name: str, /) -> int:
    """Say what a study, method, measurement, model or data set is, its settings, and how to use it.

    Args:
        name: A name that `lowland list` lists.
    """
    with door():
        found = find(name)
    for kind, thing in found:
        _show(Console(), kind, thing, read(kind.module(thing)))
    return 0


def _show(console: Console, kind: Kind, name: str, source: Source) -> None:
    console.print(Text.assemble((name, "bold cyan"), "  ", (kind.one, "dim")))
    text = source.text if kind.specs else source.about
    parts = sections(text)
    if source.summary not in text:
        _say(console, source.summary)
    _say(console, parts.pop(""))
    _rows(console, "Claims", [(name, "", readable(text)) for name, text in source.claims])
    _settings(console, source)
    facts = [(name.lower(), value, "") for name, value in source.facts if name in kind.facts]
    _rows(console, "Facts", facts)
    for heading, body in parts.items():
        if heading not in SHOWN_AS_TABLE:
            _head(console, heading)
            _say(console, body)
    _usage(console, kind, name, source)


def _settings(console: Console, source: Source) -> None:
    rows = [_row(field) for field in source.fields]
    _rows(console, "Settings", rows)
    _rows(console, "Presets", [(name, "", readable(summary)) for name, summary in source.presets])


def _row(field: Field) -> tuple[str, str, str]:
    return field.name, "required" if field.default is None else field.default, readable(field.help)


def _rows(console: Console, heading: str, rows: list[tuple[str, str, str]]) -> None:
    if not rows:
        return
    _head(console, heading)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="cyan", no_wrap=True)
    valued = any(value for _, value, _ in rows)
    if valued:
        table.add_column(style="magenta", max_width=28, overflow="fold")
    table.add_column(overflow="fold")
    for name, value, words in rows:
        table.add_row(*map(Text, (name, value, words) if valued else (name, words)))
    console.print(Padding(table, (0, 0, 0, 2)))


def _usage(console: Console, kind: Kind, name: str, source: Source) -> None:
    if kind.python:
        _head(console, "Python")
        lines = [f"from {source.module} import {source.thing}", *kind.python.format(source.thing).splitlines()]
        _code(console, lines if "lowland." not in kind.python else ["import lowland", *lines])
    if kind.flag:
        _head(console, "Command line")
        specs = _specs(name, source) if kind.specs else [name, f"{name} --help", f"{name} --paper"]
        _code(console, [kind.flag.format(spec) for spec in specs])


def _specs(name: str, source: Source) -> list[str]:
    """A thing's name alone, with its first numeric setting, and as its presets."""
    numbers = [f"{name}:{f.name}={f.default}" for f in source.fields if re.fullmatch(r"[\d.]+", f.default or "")]
    return [name, *numbers[:1], *(f"{name}.{preset}" for preset, _ in source.presets)]


def _head(console: Console, heading: str) -> None:
    console.print(f"\n[bold]{heading}[/]")


def _say(console: Console, text: str) -> None:
    console.print(Padding(Text(flowing(readable(text))), (0, 0, 0, 2)))


def _code(console: Console, lines: list[str]) -> None:
    for line in lines:
        console.print(Text(f"  {line}", style="green"), soft_wrap=True)
