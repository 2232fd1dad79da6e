from pathlib import Path

import pytest

import lowland
from lowland import catalog


def test_a_file_is_a_name():
    files = (Path(lowland.__file__).parent / "methods").glob("[a-z]*.py")
    assert catalog.names("methods") == sorted(file.stem for file in files)
    assert catalog.load("methods", "sam_on") is lowland.SAMON
    assert catalog.module("data.sets", "fashion-mnist").__name__ == "lowland.data.sets.fashion_mnist"


@pytest.mark.parametrize(
    ("spec", "method"),
    [
        ("sam", lowland.SAM()),
        ("sam:rho=0.1", lowland.SAM(rho=0.1)),
        ("asam.as_davda", lowland.ASAM.as_davda()),
        ("asam.as_published:rho=1.0", lowland.ASAM(rho=1.0)),
        ("msam:rho=0.2, m=8", lowland.MSAM(rho=0.2, m=8)),
        ("every:k=5,method=sam:rho=0.4", lowland.Every(method=lowland.SAM(rho=0.4), k=5)),
    ],
)
def test_a_spec_builds_what_it_says(spec, method):
    assert catalog.build("methods", spec) == method


@pytest.mark.parametrize(
    ("folder", "spec", "error", "words"),
    [
        ("methods", "samm", LookupError, r"no method called 'samm'. Did you mean sam or \w+ or \w+\? There are"),
        ("models", "cnn", LookupError, "no model called 'cnn'.*There are: bottleneck, conv, mlp, resnet, vit"),
        ("methods", "asam.as_released", LookupError, "preset of asam called 'as_released'"),
        ("methods", "sam.fast", LookupError, r"no preset of sam called 'fast'. There are: \(none\)"),
        ("methods", "sam:0.1", ValueError, r"name:key=value,key=\(value,value\); got '0.1' in 'sam:0.1'"),
        ("methods", "sam:roh=0.1", TypeError, "'sam:roh=0.1' cannot be built: .*'roh'. It takes: rho"),
        ("methods", "sam:rho=big", TypeError, "'sam:rho=big' cannot be built: rho must be a number, got 'big'"),
        ("methods", "sam:rho=-1", ValueError, "rho must be a finite number >= 0, got -1"),
    ],
)
def test_wrong_specs_are_refused_by_words(folder, spec, error, words):
    with pytest.raises(error, match=words):
        catalog.build(folder, spec)


def test_values_with_commas_stay_whole():
    assert catalog.parse("mlp:widths=[3,(4,5)],activation=relu")[2] == {
        "widths": [3, (4, 5)],
        "activation": "relu",
    }


def test_the_front_page_has_all_that_it_lists():
    assert all(getattr(lowland, name) for name in lowland.__all__)
    assert set(dir(lowland)) >= set(lowland.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Sam'"):
        lowland.Sam  # noqa: B018


def test_a_class_name_finds_its_file():
    assert catalog.load("methods", "LookSAM").__name__ == "LookSAM"
