import json
import shutil

import pytest

from lowland.runs.index import find

VERDICTS = {"a": ("holds", "fails"), "b": ("holds", "inconclusive"), "c": ()}


@pytest.fixture
def out(tmp_path):
    for day, (name, verdicts) in enumerate(VERDICTS.items(), start=1):
        folder = tmp_path / "toy" / name
        (folder / "cells").mkdir(parents=True)
        (folder / "cells" / "one.json").write_text("{}")
        settings = {"study": "toy", "settings": {"data": f"set {name}"}, "cells": 1 + (name == "c")}
        write(folder / "config.json", settings)
        write(folder / "environment.json", {"started": f"2026-01-0{day}T10:00:00+00:00"})
        if verdicts:
            write(folder / "claims.json", [{"id": str(i), "verdict": v} for i, v in enumerate(verdicts)])
    return tmp_path


def write(file, value):
    file.write_text(json.dumps(value))


def names(runs):
    return [run.path.removeprefix("toy/") for run in runs]


def test_all_runs_the_latest_first(out):
    runs = find(out)
    assert names(runs) == ["c", "b", "a"]
    assert [run.finished for run in runs] == [False, True, True]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"verdict": "fails"}, ["a"]),
        ({"verdict": "holds"}, ["b", "a"]),
        ({"since": "2026-01-02"}, ["c", "b"]),
        ({"study": "toy"}, ["c", "b", "a"]),
        ({"study": "to"}, []),
        ({"query": "set b"}, ["b"]),
        ({"query": "nothing"}, []),
        ({"query": "'; DROP TABLE runs; --"}, []),
    ],
)
def test_runs_are_found_by_study_verdict_date_and_text(out, query, found):
    assert names(find(out, **query)) == found


def test_a_missing_index_is_made_again(out):
    before = find(out)
    for file in out.glob("index.sqlite*"):
        file.unlink()
    assert find(out) == before


def test_a_damaged_index_is_made_again(out):
    before = find(out)
    (out / "index.sqlite").write_bytes(b"not a database, not at all" * 100)
    assert find(out) == before
    assert find(out) == before


def test_new_changed_and_removed_folders_are_noticed(out):
    find(out)
    shutil.rmtree(out / "toy" / "a")
    shutil.copytree(out / "toy" / "b", out / "toy" / "d")
    write(out / "toy" / "c" / "claims.json", [{"id": "0", "verdict": "fails"}])
    assert sorted(names(find(out))) == ["b", "c", "d"]
    assert names(find(out, verdict="fails")) == ["c"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"study": "toy"'])
def test_a_damaged_folder_is_left_out(out, content):
    (out / "toy" / "a" / "config.json").write_text(content)
    assert names(find(out)) == ["c", "b"]


def test_no_folder_is_no_runs(tmp_path):
    assert find(tmp_path / "nowhere") == []


def test_an_index_that_cannot_be_written_is_done_without(out):
    (out / "index.sqlite").mkdir()
    assert names(find(out)) == ["c", "b", "a"]
