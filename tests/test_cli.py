"""The command line as a person meets it."""

import re
import subprocess
import sys

import pytest

from lowland.cli import main

HEAVY = {"torch", "numpy", "scipy", "sklearn", "matplotlib", "jinja2", "yaml"}


def typed(*words, folder=None):
    """Exit code, output and errors of a process of its own."""
    command = [sys.executable, "-X", "importtime", "-m", "lowland", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "words",
    [["--help"], ["--version"], ["list"], ["show", "feature_rank"], ["study", "--help"], ["stdy"]],
    ids=" ".join,
)
def test_nothing_heavy_is_imported_to_look_around(words):
    _, _, err = typed(*words)
    imported = {line.rpartition("|")[2].strip() for line in err.splitlines() if line.startswith("import time:")}
    assert "lowland.cli" in imported
    assert not HEAVY & imported


def test_help_teaches_with_examples(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    out = capsys.readouterr().out
    assert end.value.code == 0
    for verb in ("study", "compare", "list", "show", "runs", "data"):
        assert re.search(rf"^\W*{verb}  ", out, flags=re.MULTILINE)
        assert f"  lowland {verb}" in out


@pytest.mark.parametrize("verb", ["list", "show", "runs", "data", "study"])
def test_every_verb_has_its_own_help(capsys, verb):
    with pytest.raises(SystemExit) as end:
        main([verb, "--help"])
    out = capsys.readouterr().out
    assert end.value.code == 0
    assert out.startswith(f"Usage: lowland {verb}")


def test_an_unknown_verb_is_refused_with_the_nearest(capsys):
    with pytest.raises(SystemExit) as end:
        main(["comapre"])
    assert end.value.code == 2
    assert 'Unknown command "comapre". Did you mean "compare"?' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("sam-lowers-feature-rnk", "Did you mean sam_lowers_feature_rank or sam_lowers_curvature"),
        ("nowhere.py", "nowhere.py: no such file."),
    ],
)
def test_an_unknown_study_is_refused(capsys, name, sentence):
    with pytest.raises(SystemExit) as end:
        main(["study", name])
    assert end.value.code == 2
    assert sentence in capsys.readouterr().err


def test_the_version_is_that_of_the_package(capsys):
    import lowland

    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == lowland.__version__


def test_the_help_of_a_study_asks_its_question_once(capsys):
    with pytest.raises(SystemExit):
        main(["study", "nme_vanishes_at_interpolation", "--help"])
    assert " ".join(capsys.readouterr().out.split()).count("Does the nonlinear modelling error vanish") == 1
