"""The toy study of tests/runs, and a way to read what a command prints."""

import re
from pathlib import Path

import pytest

from lowland.cli import main

CHAIN = Path(__file__).parent.parent / "runs" / "toys" / "chain.py"


@pytest.fixture
def chain():
    """The path of the toy study."""
    return str(CHAIN)


@pytest.fixture
def lowland(capsys, tmp_path, monkeypatch):
    """Runs a command line in an empty folder; gives its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def lowland(*words):
        with pytest.raises(SystemExit) as end:
            main(list(words))
        out, err = capsys.readouterr()
        return end.value.code, re.sub(r"\s+\n", "\n", out), err

    return lowland
