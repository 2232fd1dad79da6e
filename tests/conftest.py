"""What every test starts from: one torch thread, seed 0, no display, no data folder but the one a test names."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")
REAL_DATA = os.environ.get("LOWLAND_DATA")

import pytest  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)  # also for fixtures of modules, which come before every test


@pytest.fixture(autouse=True)
def _plain_start(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.delenv("LOWLAND_DATA", raising=False)


@pytest.fixture
def real_data(monkeypatch):
    """The folder of real data that the user named; tests that need it are skipped without."""
    if REAL_DATA is None:
        pytest.skip("LOWLAND_DATA names no folder of real data")
    monkeypatch.setenv("LOWLAND_DATA", REAL_DATA)
    return REAL_DATA
