import resource
import subprocess
import sys

import pytest

from lowland.files import clear_halves, read_json, write_whole


def test_writing_replaces_the_whole_file(tmp_path):
    file = tmp_path / "a.txt"
    write_whole(file, "a long old text\n")
    write_whole(file, "new é\n")
    assert file.read_bytes() == "new é\n".encode()
    assert list(tmp_path.iterdir()) == [file]


def test_a_full_disk_leaves_the_old_file(tmp_path):
    code = (
        "import resource, pathlib, sys\n"
        "from lowland.files import write_whole\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_whole(pathlib.Path(sys.argv[1]), 'x' * 5000)"
    )
    file = tmp_path / "a.txt"
    file.write_text("old")
    done = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True)
    assert "could not be written" in done.stderr
    assert "untouched; make room" in done.stderr
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


def test_text_and_bytes_go_into_folders_that_are_made(tmp_path):
    assert write_whole(tmp_path / "a" / "b.txt", b"\0").read_bytes() == b"\0"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_a_place_that_cannot_be_is_said(tmp_path):
    with pytest.raises(OSError, match=r"full could not be written \(.*\). What was there before is untouched"):
        write_whole(write_whole(tmp_path / "file", "old") / "full", "x")
    assert (tmp_path / "file").read_text() == "old"


def test_an_error_on_the_way_leaves_the_old_file(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("old")
    with pytest.raises(TypeError):
        write_whole(file, 7)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_halves_of_killed_writers_are_cleared(tmp_path):
    (tmp_path / "cells").mkdir()
    half = tmp_path / "cells" / ".a.json.half"
    half.write_text("{")
    clear_halves(tmp_path)
    assert not half.exists()


@pytest.mark.parametrize("content", [b'{"a": 1', b"", b"\xff"])
def test_json_that_is_cut_short_is_refused(tmp_path, content):
    file = tmp_path / "a.json"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"a.json must be whole JSON"):
        read_json(file)
