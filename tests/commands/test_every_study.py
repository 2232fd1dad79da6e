"""Several studies in a row, and the table of what they found."""

from pathlib import Path

import pytest

from lowland.commands.every_study import carry_out_all

STUDY = """
from dataclasses import dataclass
from pathlib import Path

from lowland.report.claim import Claim
from lowland.report.effect import Effect
from lowland.report.figure import Curve, Figure, Panel
from lowland.report.interval import interval

QUESTION = "Do numbers grow?"

@dataclass(frozen=True)
class Config:
    seeds: int = 3

def cells(config):
    return [{"seed": seed} for seed in range(config.seeds)]

def run(config, cell, context):
    with open("runs.txt", "a") as file:
        file.write("x")
    return [{"at": at, "value": SIGN * (at + cell["seed"])} for at in (1, 2)]

def grow(rows):
    return Effect.of("last value", interval([row["value"] for row in rows if row["at"] == 2]), "above", 0)

CLAIMS = (Claim(id="grow", text="They grow.", source="here", check=grow),)

def figures(config, rows):
    panel = Panel(x_label="at", y_label="value", curves=(Curve.of(rows, "all", x="at", y="value"),))
    return [Figure(title="Growth", panels=(panel,), caption="All of it.")]
"""
REFUSES = "\ndef check(config):\n    raise ValueError('numbers must be there, got none.')\n"


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def written(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        return str(tmp_path / f"{name}.py")

    return written


def test_claims_of_all_studies_are_lines_of_one_table_with_their_pages_and_figures(written, tmp_path):
    good, bad = written("good", "SIGN = 1\n" + STUDY), written("bad", "SIGN = -1\n" + STUDY)
    assert carry_out_all([good, bad], out=Path("runs"), table=Path("docs/findings.md"), workers=1) == 0
    text = (tmp_path / "docs/findings.md").read_text()
    assert "Of 2 claims in 2 studies: *holds* 1, *fails* 1, *inconclusive* 0." in text
    first, second = text.splitlines()[-2:]
    assert first.startswith("| good | They grow. | holds | last value | 3.0 [0.5, 5.5] | 3 |")
    assert second.startswith("| bad | They grow. | fails | last value | −3.0 [−5.5, −0.5] | 3 |")
    assert first.endswith("| [page](studies/good.html), [figure](studies/good.svg) |")
    for name in ("good", "bad"):
        assert "Do numbers grow?" in (tmp_path / f"docs/studies/{name}.html").read_text()
        assert "<svg" in (tmp_path / f"docs/studies/{name}.svg").read_text()


def test_what_is_finished_is_not_run_again_and_gives_the_same_table(written, tmp_path):
    good = written("good", "SIGN = 1\n" + STUDY)
    texts = []
    for _ in range(2):
        carry_out_all([good], out=Path("runs"), table=Path("findings.md"), workers=1)
        texts.append((tmp_path / "findings.md").read_text())
    assert (tmp_path / "runs.txt").read_text() == "xxx"
    assert texts[0] == texts[1]
    carry_out_all([good], out=Path("runs"), table=Path("findings.md"), workers=1, fresh=True)
    assert (tmp_path / "runs.txt").read_text() == "xxxxxx"


def test_a_study_that_is_refused_or_fails_is_named_and_stops_no_other(written, tmp_path, capsys):
    refused, fails = written("refused", "SIGN = 1\n" + STUDY + REFUSES), written("fails", STUDY)
    good = written("good", "SIGN = 1\n" + STUDY)
    code = carry_out_all([refused, fails, good], out=Path("runs"), table=Path("findings.md"), workers=1)
    assert code == 1
    assert "numbers must be there, got none." in capsys.readouterr().err
    text = (tmp_path / "findings.md").read_text()
    assert "Of 1 claims in 1 studies: *holds* 1" in text
    assert "Could not be run, or failed: refused, fails." in text


def test_stopped_it_says_what_goes_on_with_folder_and_table(written, capsys):
    press = "import os, signal, time; os.kill(os.getppid(), signal.SIGINT); time.sleep(20)"
    stops = written("stops", STUDY.replace('file.write("x")', press))
    assert carry_out_all([stops], out=Path("my runs"), table=Path("t.md"), workers=1) == 130
    said = capsys.readouterr().out
    assert f"lowland study {stops} --out 'my runs'" in said
    assert "lowland study --all --out 'my runs' --table t.md goes on with this study" in said


def test_neither_a_name_nor_all_is_a_sentence(lowland):
    code, _, err = lowland("study")
    assert code == 2
    assert "study must be followed by --all, a name (" in err
