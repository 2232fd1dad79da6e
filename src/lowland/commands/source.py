"""What a file says about its thing, read without running it: listing must not import torch."""

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

__all__ = ["Field", "Source", "helps", "read", "sections"]

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class Field:
    """One setting of a thing."""

    name: str
    """As in Python and, with dashes, on the command line."""
    default: str | None
    """Its default as Python text; None if it must be given."""
    help: str
    """What it means; may be empty."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a file says about its thing."""

    module: str
    """Dotted name of the module."""
    thing: str
    """The Python name that the file is named for."""
    summary: str
    """First line of the file's docstring."""
    about: str
    """Docstring of the file."""
    text: str
    """Docstring of the thing, or of the file if it has none."""
    fields: tuple[Field, ...]
    """Settings, those of base classes included."""
    presets: tuple[tuple[str, str], ...]
    """Names and summaries of ``as_...``."""
    facts: tuple[tuple[str, str], ...]
    """Constants written as plain values, such as ``PASSES``."""
    claims: tuple[tuple[str, str], ...]
    """Names and texts of a study's claims."""


def read(module: str) -> Source:
    """Read a module of lowland, such as ``lowland.methods.sam``.

    Example:
        >>> read("lowland.methods.sam").thing
        'SAM'
    """
    tree = _tree(module)
    docstring = ast.get_docstring(tree) or ""
    thing = _first_public(tree)
    definition = _definition(tree, thing)
    own = ast.get_docstring(definition) if definition else None
    lineage = list(_lineage(tree, definition)) if isinstance(definition, ast.ClassDef) else []
    return Source(
        module=module,
        thing=thing,
        summary=docstring.partition("\n")[0],
        about=docstring,
        text=own or docstring,
        fields=_merged([*map(_class_fields, reversed(lineage))]),
        presets=tuple(_presets(lineage)),
        facts=tuple(_facts(definition.body if isinstance(definition, ast.ClassDef) else tree.body)),
        claims=tuple(_claims(tree)),
    )


def helps(kind: type) -> dict[str, str]:
    """What each setting of a dataclass means, by name, from its source and that of its base classes."""
    said = [field for base in reversed(kind.__mro__[:-1]) for field in _inspected(base)]
    return {field.name: field.help for field in said if field.help}


def sections(docstring: str) -> dict[str, str]:
    r"""A Google-style docstring by heading; what comes before the first heading is under ``""``.

    Example:
        >>> sections("Adds.\n\nArgs:\n    a: One.")
        {'': 'Adds.', 'Args': 'a: One.'}
    """
    parts = re.split(r"^([A-Z][A-Za-z ]+):\n(?=    )", inspect.cleandoc(docstring), flags=re.MULTILINE)
    found = {"": parts[0].strip()}
    for heading, body in zip(parts[1::2], parts[2::2], strict=True):
        found[heading] = inspect.cleandoc("\n" + body)
    return found


def _tree(module: str) -> ast.Module:
    path = ROOT.joinpath(*module.split(".")[1:])
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def _first_public(tree: ast.Module) -> str:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)[0]
    return ""


def _definition(tree: ast.Module, name: str) -> ast.ClassDef | ast.FunctionDef | None:
    kinds = (ast.ClassDef, ast.FunctionDef)
    return next((node for node in tree.body if isinstance(node, kinds) and node.name == name), None)


def _lineage(tree: ast.Module, definition: ast.ClassDef) -> Iterator[ast.ClassDef]:
    """A class and its base classes inside lowland, nearest first."""
    yield definition
    for base in definition.bases:
        home = _home(tree, ast.unparse(base)) if isinstance(base, ast.Name) else tree
        found = _definition(home, ast.unparse(base)) if home else None
        if isinstance(found, ast.ClassDef) and home:
            yield from _lineage(home, found)


def _home(tree: ast.Module, name: str) -> ast.Module | None:
    """The module that a name comes from: this one, or the one of lowland it is imported from."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            module = node.module or ""
            return _tree(module) if module.startswith("lowland.") else None
    return tree


def _inspected(kind: type) -> list[Field]:
    """The fields of a class that is loaded; none where its source is not to be had."""
    try:
        definition = ast.parse(inspect.cleandoc(inspect.getsource(kind))).body[0]
    except (OSError, TypeError, SyntaxError):
        return []
    return _class_fields(definition) if isinstance(definition, ast.ClassDef) else []


def _class_fields(definition: ast.ClassDef) -> list[Field]:
    docstring = sections(ast.get_docstring(definition) or "")
    helps = _entries(docstring.get("Args", "")) | _entries(docstring.get("Attributes", ""))
    makers = [n for n in definition.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    found = _arguments(makers[0]) if makers else _annotated(definition)
    return [Field(name=f.name, default=f.default, help=f.help or helps.get(f.name, "")) for f in found]


def _annotated(definition: ast.ClassDef) -> list[Field]:
    following = [*definition.body[1:], ast.Pass()]
    return [
        Field(name=node.target.id, default=_text(node.value), help=_docstring(after))
        for node, after in zip(definition.body, following, strict=True)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and _is_field(node)
    ]


def _is_field(node: ast.AnnAssign) -> bool:
    target = ast.unparse(node.target)
    return not target.startswith("_") and "ClassVar" not in ast.unparse(node.annotation)


def _arguments(maker: ast.FunctionDef) -> list[Field]:
    plain = [*maker.args.posonlyargs, *maker.args.args][1:]
    missing = len(plain) - len(maker.args.defaults)
    pairs = [*zip(plain, [None] * missing + list(maker.args.defaults), strict=True)]
    pairs += [*zip(maker.args.kwonlyargs, maker.args.kw_defaults, strict=True)]
    return [Field(name=argument.arg, default=_text(default), help="") for argument, default in pairs]


def _docstring(node: ast.stmt) -> str:
    """The text right below a field, if there is one."""
    value = node.value if isinstance(node, ast.Expr) else None
    text = value.value if isinstance(value, ast.Constant) else None
    return _flowing(text) if isinstance(text, str) else ""


def _entries(section: str) -> dict[str, str]:
    """``name: help`` lines of a section, with their continuation lines."""
    parts = re.split(r"^(\w+)(?: \([^)]*\))?:\s", section, flags=re.MULTILINE)
    return {name: _flowing(body) for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def _flowing(text: str) -> str:
    return " ".join(text.split())


def _text(node: ast.expr | None) -> str | None:
    return None if node is None else ast.unparse(node)


def _merged(levels: list[list[Field]]) -> tuple[Field, ...]:
    """Fields from the farthest base class to the class itself, which may change them, or their default alone."""
    found: dict[str, Field] = {}
    for field in (field for level in levels for field in level):
        before = found.get(field.name, field)
        found[field.name] = replace(field, help=field.help or before.help)
    return tuple(found.values())


def _presets(lineage: list[ast.ClassDef]) -> Iterator[tuple[str, str]]:
    for definition in lineage:
        for node in definition.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("as_"):
                yield node.name, (ast.get_docstring(node) or "").partition("\n")[0]


def _facts(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Upper-case names that are set to a plain value."""
    for node in body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            name = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
            if name.isupper() and isinstance(node.value, ast.Constant | ast.Tuple | ast.Dict):
                yield name, ast.unparse(node.value)


def _claims(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The ``id`` and ``text`` of every ``Claim(...)`` in a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Claim":
            said = {key.arg: ast.unparse(key.value).strip("'\"") for key in node.keywords}
            yield said.get("id", ""), said.get("text", "")
