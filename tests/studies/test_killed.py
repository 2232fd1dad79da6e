"""A study that is killed at random moments ends in the same rows, byte for byte."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

SETTINGS = "--train 120 --epochs 4 --examples 60 --looks 2 --rhos 0 0.1 0.4 --seeds 2 --model conv:widths=(4,4)"
KILLS = 3


def start(out):
    words = [
        sys.executable,
        "-m",
        "lowland",
        "study",
        "sam_lowers_feature_rank",
        *SETTINGS.split(),
        "--out",
        str(out),
    ]
    return subprocess.Popen(words, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def rows(out):
    (file,) = out.glob("sam_lowers_feature_rank/*/rows.jsonl")
    return file.read_bytes()


@pytest.mark.parametrize("seed", [0])
def test_killed_at_random_moments_it_ends_in_the_same_rows(tmp_path, seed):
    began = time.monotonic()
    assert start(tmp_path / "whole").wait() == 0
    whole = time.monotonic() - began
    draw = random.Random(seed)
    for _ in range(KILLS):
        process = start(tmp_path / "killed")
        try:
            process.wait(draw.uniform(0.3, 0.9) * whole)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert start(tmp_path / "killed").wait() == 0
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")
