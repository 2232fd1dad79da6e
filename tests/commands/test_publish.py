import json
from dataclasses import dataclass

import pytest

from lowland.commands.publish import publish
from lowland.report.figure import Curve, Figure, Panel
from lowland.runs.environment import environment
from lowland.runs.grid import Failure, Outcome
from lowland.runs.opening import open_folder
from lowland.runs.study import Study

STUDY = '''"""Counts.

It counts slowly, in ``steps``.
"""
from dataclasses import dataclass
from lowland.report.claim import Claim
from lowland.report.effect import Effect
from lowland.report.figure import Curve, Figure, Panel
from lowland.report.interval import interval
from lowland.report.table import Table

QUESTION = "Does counting go up?"

@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings."""
    seeds: int = 3
    """Runs."""

def cells(config):
    return [{"method": "count", "seed": seed} for seed in range(config.seeds)]

def run(config, cell, context):
    return [{"at": at, "count": at + cell["seed"]} for at in range(3)]

def rise(rows):
    ends = [row["count"] - row["seed"] for row in rows if row["at"] == 2]
    return Effect.of("rise", interval(ends), "above", 1.0)

CLAIMS = (Claim(id="goes_up", text="Counting goes up.", source="nursery, page 1", check=rise),)

def figures(config, rows):
    curve = Curve.of(rows, "count", x="at", y="count")
    return [Figure(title="Counting", panels=(Panel(x_label="at", y_label="count", curves=(curve,)),))]

def tables(config, rows):
    if len(rows) < 9:
        raise ValueError("rows must be complete.")
    return [Table(title="Last counts", columns=("seed",), rows=tuple((row["seed"],) for row in rows[2::3]))]
'''


@dataclass
class Run:
    """A study with its finished folder."""

    study: Study
    config: object
    folder: object

    def publish(self, outcome):
        return publish(self.study, self.config, self.folder, outcome, "lowland study count.py")

    def path(self, name):
        return self.folder.path / name


@pytest.fixture
def counted(tmp_path):
    (tmp_path / "count.py").write_text(STUDY)
    study = Study(str(tmp_path / "count.py"))
    config = study.module.Config()
    cells = study.cells(config)
    with open_folder(tmp_path / "run", study.name, config, cells) as folder:
        (folder.path / "environment.json").write_text(json.dumps(environment()))
        folder.assemble([record(study, config, cell) for cell in cells])
        yield Run(study, config, folder)


def record(study, config, cell):
    return {"cell": cell, "timings": {"seconds": 1.0}, "rows": study.module.run(config, cell, None)}


PANEL = Panel(x_label="x", y_label="y", curves=(Curve(label="a", x=(0.0,), values=((1.0, 2.0),)),))
DONE = Outcome(cells=3, reused=0, failures=())
FAILED = Outcome(cells=3, reused=0, failures=(Failure(cell={}, reason="no", file=""),))


def test_claims_are_a_list_with_verdict_effect_interval_and_seeds(counted):
    counted.publish(DONE)
    (claim,) = json.loads(counted.path("claims.json").read_text())
    assert (claim["id"], claim["verdict"], claim["seeds"]) == ("goes_up", "holds", 3)
    assert claim["interval"] == [2.0, 2.0]
    assert {"text", "source", "effect"} <= claim.keys()


def test_figures_and_tables_come_in_every_form(counted):
    counted.publish(DONE)
    assert {path.suffix for path in counted.path("figures").iterdir()} == {".svg", ".pdf", ".csv"}
    assert {path.name for path in counted.path("tables").glob("last*")} == {
        f"last_counts.{e}" for e in ("csv", "md", "tex")
    }


def test_figures_of_seconds_come_first_where_a_study_has_them(counted):
    counted.study.module.timed_figures = lambda config, rows, timings: [
        Figure(title=f"{len(rows)} rows in {sum(line['seconds'] for line in timings):g} s", panels=(PANEL,))
    ]
    page = counted.publish(DONE)
    assert [figure.title for figure in page.figures] == ["9 rows in 3 s", "Counting"]


def test_the_page_has_question_verdict_cost_settings_and_command(counted):
    page = counted.publish(DONE)
    text = counted.path("index.html").read_text()
    for words in ("Does counting go up?", "Counting goes up.", "count.py", "It counts slowly, in steps."):
        assert words in text
    assert page.cost.rows == (("count", 3, 1.0),)
    assert page.settings == {"seeds": 3}


def test_the_same_rows_give_the_same_page(counted):
    counted.publish(DONE)
    before = counted.path("index.html").read_bytes()
    counted.publish(DONE)
    assert counted.path("index.html").read_bytes() == before


def test_failed_runs_leave_no_verdict_but_a_note(counted):
    page = counted.publish(FAILED)
    (claim,) = json.loads(counted.path("claims.json").read_text())
    assert claim["verdict"] == "inconclusive"
    assert page.notes == ("1 of 3 runs failed; the same command tries them again.",)


def test_a_table_that_needs_missing_rows_is_left_out(counted):
    lines = counted.path("rows.jsonl").read_text().splitlines(keepends=True)
    counted.path("rows.jsonl").write_text("".join(lines[:3]))
    assert counted.publish(FAILED).tables == ()
    with pytest.raises(ValueError, match="rows must be complete"):
        counted.publish(DONE)
