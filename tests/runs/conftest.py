"""Toy studies, run in processes of their own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOYS = Path(__file__).parent / "toys"


@pytest.fixture
def chain():
    """The path of the toy study."""
    return str(TOYS / "chain.py")


@pytest.fixture
def start(tmp_path):
    """Starts the toy study in a process; ends the process with the test."""
    started = []

    def start(study="chain.py", out=tmp_path / "runs", **settings):
        command = [sys.executable, TOYS / "drive.py", TOYS / study, out, json.dumps(settings)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def drive(start):
    """Runs the toy study to its end; gives what it printed last, and its folder."""

    def drive(**settings):
        out, err = start(**settings).communicate(timeout=60)
        lines = out.splitlines()
        at = next((i for i, line in enumerate(lines) if line.startswith("end")), len(lines))
        return lines[at:], err

    return drive


@pytest.fixture
def folder(tmp_path):
    """The folder of the only run of the toy study."""

    def folder():
        (found,) = (tmp_path / "runs" / "chain").iterdir()
        return found

    return folder
