"""What every study must obey, without naming one."""

import dataclasses
import json

import pytest

from lowland.catalog import module, names
from lowland.report.claim import judge_all
from lowland.report.page import Page, render
from lowland.runs.cell import check_cells
from lowland.runs.context import Context

STUDIES = names("studies")


def rows_of(study, folder, cells=None):
    rows = []
    for at, cell in enumerate(study.cells(study.TINY) if cells is None else cells):
        place = folder / str(at)
        place.mkdir(parents=True)
        rows += study.run(study.TINY, cell, Context("cpu", place, lambda share: None))
    return rows


@pytest.fixture(scope="module", params=STUDIES)
def done(request, tmp_path_factory):
    """A study and the rows of its smallest setting."""
    study = module("studies", request.param)
    return study, rows_of(study, tmp_path_factory.mktemp("rows"))


def test_says_what_it_asks(done):
    study, _ = done
    assert study.QUESTION.endswith("?")
    assert dataclasses.is_dataclass(study.Config)
    check_cells(study.__name__, study.cells(study.Config()))


def test_the_same_seed_gives_the_same_rows(done, tmp_path):
    study, rows = done
    again = rows_of(study, tmp_path, study.cells(study.TINY)[:1])
    assert json.dumps(again) == json.dumps(rows[: len(again)])


def test_every_claim_gets_a_verdict_with_its_source(done):
    study, rows = done
    for verdict in judge_all(getattr(study, "CLAIMS", ()), rows):
        assert verdict.outcome in {"holds", "fails", "inconclusive"}
        assert verdict.effects or verdict.note
        assert verdict.claim.source


def test_no_claim_is_decided_by_two_seeds(done):
    study, rows = done
    few = [row for row in rows if row["seed"] < 2]
    assert {verdict.outcome for verdict in judge_all(getattr(study, "CLAIMS", ()), few)} <= {"inconclusive"}


def test_its_page_can_be_drawn(done):
    study, rows = done
    figures, tables = study.figures(study.TINY, rows), study.tables(study.TINY, rows)
    page = Page(title="x", question=study.QUESTION, figures=tuple(figures), tables=tuple(tables))
    assert render(page).count("<figure") >= len(figures) > 0


@pytest.mark.parametrize("name", [name for name in STUDIES if name != "compare"])
def test_has_a_full_size_of_its_own(name):
    study = module("studies", name)
    assert isinstance(study.PAPER, study.Config)
    assert study.Config() != study.PAPER
    check_cells(name, study.cells(study.PAPER))


@pytest.mark.parametrize("name", [name for name in STUDIES if name != "compare"])
def test_its_full_size_is_not_refused(name, real_data):
    study = module("studies", name)
    getattr(study, "check", lambda config: None)(study.PAPER)
