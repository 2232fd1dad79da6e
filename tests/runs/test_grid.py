import json
import re
from pathlib import Path

import pytest

from lowland.runs.grid import run_grid
from lowland.runs.opening import open_folder
from lowland.runs.study import Study


@pytest.fixture
def grid(chain, tmp_path):
    """Runs the toy study here, its runs in other processes."""

    def grid(watcher=None, workers=2, **settings):
        study = Study(chain)
        config = study.module.Config(**{"links": 400, "seeds": 2, **settings})
        with open_folder(tmp_path, study.name, config, study.cells(config)) as folder:
            return run_grid(study, config, folder, workers=workers, watcher=watcher), folder

    return grid


class Events:
    def __init__(self):
        self.seen = []

    def begin(self, cells, reused):
        self.seen.append(("begin", cells, reused))

    def see(self, event, cell):
        self.seen.append((event.kind, cell["kind"], cell["seed"], event.share))


def test_rows_come_in_the_order_of_the_grid(grid):
    _, folder = grid()
    found = [(row["kind"], row["seed"], row["part"]) for row in folder.rows()]
    assert found == [(kind, seed, part) for kind in ("plain", "salted") for seed in (0, 1) for part in range(4)]
    assert [sorted(line) for line in folder.timings()] == [["kind", "seconds", "seed", "thinking"]] * 4


def test_rows_do_not_depend_on_the_number_of_processes(grid, tmp_path):
    _, folder = grid(workers=1)
    alone = (folder.path / "rows.jsonl").read_bytes()
    for file in (folder.path / "cells").iterdir():
        file.unlink()
    grid(workers=3)
    assert (folder.path / "rows.jsonl").read_bytes() == alone


def test_finished_runs_are_not_done_again(grid, tmp_path, monkeypatch):
    marks = tmp_path / "marks"
    marks.mkdir()
    monkeypatch.setenv("TOY_MARKS", str(marks))
    assert [grid()[0].reused for _ in range(2)] == [0, 4]
    assert {mark.read_text() for mark in marks.iterdir()} == {"x"}


def test_a_damaged_run_is_done_again_and_comes_out_the_same(grid):
    _, folder = grid()
    before = (folder.path / "rows.jsonl").read_bytes()
    (folder.path / "rows.jsonl").write_bytes(before[:100])
    file = next((folder.path / "cells").iterdir())
    file.write_bytes(file.read_bytes()[:-20])
    outcome, _ = grid()
    assert outcome.reused == 3
    assert (folder.path / "rows.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("raises", "ValueError: the sum does not add up"),
        ("exits", "The process ended with exit code 7 in the middle of the run."),
        ("leaves a child", "The process ended with exit code 7 in the middle of the run."),
        ("is killed", "The process was killed by SIGKILL .* out of memory: try fewer workers."),
    ],
)
def test_a_run_that_fails_is_reported_and_the_others_go_on(grid, monkeypatch, trouble, reason):
    monkeypatch.setenv("TOY_TROUBLE", trouble)
    outcome, folder = grid()
    assert (outcome.done, len(outcome.failures)) == (2, 2)
    assert len(folder.rows()) == 8
    for failure in outcome.failures:
        assert re.fullmatch(reason, failure.reason)
        assert failure.cell["seed"] == 1


def test_a_failed_run_is_tried_again(grid, monkeypatch):
    monkeypatch.setenv("TOY_TROUBLE", "raises")
    outcome, folder = grid()
    text = Path(outcome.failures[0].file).read_text()
    assert "Traceback" in text
    assert "the sum does not add up" in text
    monkeypatch.delenv("TOY_TROUBLE")
    assert grid()[0].failures == ()
    assert {path.name for path in folder.path.iterdir()} == FILES


FILES = {".lock", "cells", "config.json", "log.txt", "rows.jsonl", "timings.jsonl"}


def test_the_watcher_sees_every_run_begin_advance_and_end(grid):
    events = Events()
    grid(watcher=events)
    assert events.seen[0] == ("begin", 4, 0)
    ours = [event for event in events.seen if event[1:3] == ("plain", 1)]
    assert [event[0] for event in ours] == ["started", *["advanced"] * 4, "done"]
    assert [event[3] for event in ours][1:5] == [0.25, 0.5, 0.75, 1.0]


def test_what_a_run_prints_goes_to_the_log(grid):
    _, folder = grid()
    assert (folder.path / "log.txt").read_text().count("said") == 4


def test_random_numbers_depend_on_the_run_only(grid):
    _, folder = grid(seeds=1)
    first = [row["draw"] for row in folder.rows()]
    assert len(set(first)) == len(first)
    assert json.loads((folder.path / "config.json").read_text())["cells"] == 2


def test_fewer_than_one_worker_is_refused(grid):
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        grid(workers=0)
