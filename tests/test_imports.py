"""Imports point strictly down, and the folders whose files are alternatives hold no family ties."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "lowland"

LAYERS = (
    {"types"},
    {"calling", "catalog", "checks", "files", "own_file", "seeds", "shield", "vector"},
    {"data", "engine", "layers", "models", "observe", "theory"},
    {"blocks", "operators"},
    {"estimate"},
    {"measuring"},
    {"compat", "measurements", "methods", "penalties", "train"},
    {"integrations", "report", "runs"},
    {"experiments"},
    {"studies"},
    {"commands"},
    {"cli"},
    {"__main__"},
)
LEVEL = {place: level for level, places in enumerate(LAYERS) for place in places}
ALTERNATIVES = (
    "data/pair_sets",
    "data/sets",
    "measurements",
    "methods",
    "models",
    "penalties",
    "studies",
    "theory",
)
FILES = [path for path in sorted(SOURCE.rglob("*.py")) if path != SOURCE / "__init__.py"]


def module(path):
    return ".".join(("lowland", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")


def imported(path):
    """The modules of ours that a file imports, wherever in the file."""
    known = {module(each) for each in FILES}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports must be absolute"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name in known)


def place(name):
    return name.split(".")[1]


@pytest.mark.parametrize("path", FILES, ids=module)
def test_imports_point_down(path):
    here = place(module(path))
    for name in imported(path):
        there = place(name)
        assert here == there or LEVEL[there] < LEVEL[here] or LEVEL[here] == LEVEL[there] == 1, (
            f"{here} imports {name}"
        )


@pytest.mark.parametrize("folder", ALTERNATIVES)
def test_alternatives_do_not_import_each_other(folder):
    files = list((SOURCE / folder).glob("*.py"))
    names = {module(path) for path in files if path.stem != "__init__"}
    ties = [(path.stem, name) for path in files for name in imported(path) if name in names]
    assert ties == []


def test_there_is_no_import_circle():
    edges = {module(path): set(imported(path)) - {module(path)} for path in FILES}
    while free := [name for name, ends in edges.items() if not ends & edges.keys()]:
        for name in free:
            del edges[name]
    assert edges == {}


def test_every_folder_has_its_layer():
    assert {place(module(path)) for path in FILES} <= set(LEVEL)
