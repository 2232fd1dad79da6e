from dataclasses import dataclass

import pytest

from lowland import catalog
from lowland.commands.kinds import KINDS
from lowland.commands.source import helps, read, sections

THINGS = [(kind, name) for kind in KINDS for name in kind.names()]


@pytest.mark.parametrize(("kind", "name"), THINGS, ids=[name for _, name in THINGS])
def test_every_thing_has_a_summary_and_its_settings_are_explained(kind, name):
    source = read(kind.module(name))
    assert source.summary
    assert source.thing == catalog.module(kind.folder, name).__all__[0]
    assert [field.name for field in source.fields if not field.help] == []


def test_a_method_is_read_with_its_presets_and_facts():
    source = read("lowland.methods.asam")
    assert [field.name for field in source.fields][:2] == ["rho", "eta"]
    assert [name for name, _ in source.presets] == ["as_published", "as_davda"]
    assert dict(source.facts)["PASSES"] == "2"


def test_settings_of_base_classes_are_read():
    names = {field.name: field.default for field in read("lowland.data.sets.fashion_mnist").fields}
    assert names["label_noise"] == "0.0"
    assert "SHAPE" not in names


def test_arguments_of_a_constructor_are_read():
    fields = {field.name: field for field in read("lowland.models.mlp").fields}
    assert fields["classes"].default is None
    assert fields["widths"].default == "(256, 256)"
    assert fields["activation"].help.startswith("``relu``")


@dataclass
class Base:
    """Explains.

    Attributes:
        a: In the
            docstring.
    """

    a: int = 1


@dataclass
class Derived(Base):
    """Explains more."""

    b: int = 2
    """Below
    the field."""


def test_help_is_taken_from_docstrings_and_from_below_the_field():
    assert helps(Derived) == {"a": "In the docstring.", "b": "Below the field."}


def test_a_docstring_is_split_at_its_headings():
    text = "One.\n\nTwo: not a heading.\n\nArgs:\n    a: An\n        argument.\n\nCost:\n    None.\n"
    assert sections(text) == {
        "": "One.\n\nTwo: not a heading.",
        "Args": "a: An\n    argument.",
        "Cost": "None.",
    }
