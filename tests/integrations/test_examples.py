"""The examples run as they stand."""

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parent.parent.parent / "docs" / "hosts.md").read_text()
BLOCKS = dict(re.findall(r"^## (.*?)$.*?```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE))


@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers:UserWarning")
@pytest.mark.parametrize("host", BLOCKS)
def test_runs(host, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[host], host, "exec"), {"__name__": "example"})


def test_there_is_one_for_every_host():
    assert list(BLOCKS) == ["Lightning", "Hugging Face Trainer", "Accelerate"]
