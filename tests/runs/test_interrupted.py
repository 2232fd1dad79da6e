"""The promise that matters most: whatever stops a grid, the same command ends in the same bytes."""

import os
import random
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The rows of a run that nothing stopped."""
    toys, out = Path(__file__).parent / "toys", tmp_path_factory.mktemp("reference")
    command = [sys.executable, toys / "drive.py", toys / "chain.py", out, "{}"]
    subprocess.run(command, check=True, capture_output=True)
    return next(out.glob("chain/*/rows.jsonl")).read_bytes()


def read_until(process, word):
    """Lines that a process prints, up to one that begins with the word."""
    for line in process.stdout:
        if line.startswith(word):
            return line
    raise AssertionError(f"the process ended before it said {word}")


def children(process):
    """Handles of the processes that a process started."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True)
    return [os.pidfd_open(int(pid)) for pid in found.stdout.split()]


def all_end(handles):
    """Whether processes come to their end."""
    return all(select.select([handle], [], [], 20)[0] for handle in handles)


def test_killed_at_random_moments_it_ends_in_the_same_bytes(start, drive, folder, reference):
    moments = random.Random(0)
    for _ in range(6):
        process = start()
        try:
            process.wait(timeout=moments.uniform(0.05, 0.5))
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
    lines, _ = drive()
    assert lines[0].startswith("end 12")
    assert (folder() / "rows.jsonl").read_bytes() == reference


@pytest.mark.parametrize("word", ["begin", "started", "done"])
def test_killed_at_a_certain_moment_it_ends_in_the_same_bytes(start, drive, folder, reference, word):
    process = start()
    read_until(process, word)
    process.kill()
    process.communicate()
    drive()
    assert (folder() / "rows.jsonl").read_bytes() == reference


def test_workers_do_not_outlive_a_killed_parent(start, monkeypatch):
    monkeypatch.setenv("TOY_TROUBLE", "hangs")
    process = start(seeds=2)
    read_until(process, "started plain-1")
    workers = children(process)
    process.kill()
    assert len(workers) >= 2
    assert all_end(workers)


def test_ctrl_c_keeps_what_is_done_and_leaves_no_process(start, drive, folder, reference):
    process = start()
    read_until(process, "done")
    workers = children(process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert err.strip().endswith("KeyboardInterrupt")
    assert all_end(workers)
    kept = (folder() / "rows.jsonl").read_bytes()
    assert len(kept.splitlines()) >= 4
    drive()
    assert (folder() / "rows.jsonl").read_bytes() == reference


def test_rows_so_far_are_whole_runs_of_the_final_rows(start, folder, reference):
    process = start()
    read_until(process, "done")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert set((folder() / "rows.jsonl").read_bytes().splitlines()) <= set(reference.splitlines())


def test_a_second_process_is_refused_and_does_no_harm(start, drive, folder, reference):
    first = start()
    read_until(first, "started")
    lines, err = drive()
    assert not lines
    assert f"is being written by process {first.pid}" in err
    first.communicate(timeout=60)
    assert (folder() / "rows.jsonl").read_bytes() == reference


def test_a_full_disk_stops_it_by_words_and_it_goes_on_later(start, drive, folder, reference, monkeypatch):
    monkeypatch.setenv("TOY_DISK", "500")
    _, err = start().communicate(timeout=60)
    assert "could not be written (File too large)" in err
    assert not [path for path in folder().rglob("*") if path.name.endswith(".half")]
    monkeypatch.delenv("TOY_DISK")
    drive()
    assert (folder() / "rows.jsonl").read_bytes() == reference
