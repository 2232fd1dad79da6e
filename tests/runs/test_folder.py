import hashlib
import json

import pytest

from lowland.runs.cell import key, to_json
from lowland.runs.folder import RunFolder

CELL = {"method": "sgd", "seed": 0}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "cells").mkdir()
    return RunFolder(tmp_path)


def record(cell=None, loss=0.5):
    rows = [{"loss": loss}]
    digest = hashlib.sha256(to_json(rows).encode()).hexdigest()
    return json.dumps({"cell": cell or CELL, "digest": digest, "timings": {"seconds": 1.5}, "rows": rows})


def test_a_kept_run_is_found_again(folder):
    assert folder.kept(CELL) is None
    folder.keep(CELL, record())
    assert folder.kept(CELL)["rows"] == [{"loss": 0.5}]


@pytest.mark.parametrize("length", [0, 1, 40, 90, -3])
def test_a_truncated_run_counts_as_not_done(folder, length):
    folder.keep(CELL, record())
    file = folder.path / "cells" / f"{key(CELL)}.json"
    file.write_text(file.read_text()[:length])
    assert folder.kept(CELL) is None


@pytest.mark.parametrize("content", ["[]", "null", "{}", record(cell={"seed": 1}), record().replace("0.5", "0.6")])
def test_a_run_that_is_not_this_one_counts_as_not_done(folder, content):
    (folder.path / "cells" / f"{key(CELL)}.json").write_text(content)
    assert folder.kept(CELL) is None


def test_rows_and_seconds_are_kept_apart(folder):
    folder.assemble([json.loads(record())])
    assert folder.rows() == [{**CELL, "loss": 0.5}]
    assert folder.timings() == [{**CELL, "seconds": 1.5}]


def test_a_success_forgets_the_failure(folder):
    file = folder.note_failure(CELL, "Traceback\nValueError: no")
    assert "method sgd, seed 0" in file.read_text()
    folder.keep(CELL, record())
    folder.tidy()
    assert not file.parent.exists()


def test_truncated_rows_are_refused(folder):
    (folder.path / "rows.jsonl").write_text('{"a": 1}\n{"a": ')
    with pytest.raises(ValueError, match=r"rows.jsonl must be whole lines of JSON.* Run the study again"):
        folder.rows()
