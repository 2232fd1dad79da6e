import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lowland.runs.opening import open_folder, place


@dataclass(frozen=True, kw_only=True)
class Config:
    data: str = "digits"
    model: str = "mlp:widths=(8, 8)"
    rhos: tuple[float, ...] = (0.0, 0.1)


CELLS = [{"seed": 0}, {"seed": 1}]


def test_the_same_settings_lead_to_the_same_readable_place(tmp_path):
    here = place(tmp_path, "toy", Config(), CELLS)
    assert here == place(tmp_path, "toy", Config(), CELLS)
    assert here.parent == tmp_path / "toy"
    assert here.name.startswith("digits-mlp-widths-8-8-")


def test_other_settings_or_another_grid_lead_elsewhere(tmp_path):
    places = [
        place(tmp_path, "toy", Config(), CELLS),
        place(tmp_path, "toy", Config(rhos=(0.0,)), CELLS),
        place(tmp_path, "toy", Config(), CELLS[:1]),
    ]
    assert len(set(places)) == 3


def test_a_folder_can_be_opened_again(tmp_path):
    for _ in range(2):
        with open_folder(tmp_path / "a", "toy", Config(), CELLS) as folder:
            assert json.loads((folder.path / "config.json").read_text())["settings"]["data"] == "digits"


def test_a_folder_with_other_settings_is_refused_and_left_alone(tmp_path):
    with open_folder(tmp_path, "toy", Config(), CELLS):
        pass
    before = (tmp_path / "config.json").read_bytes()
    other = replace(Config(), model="conv")
    words = r"got another one: settings.model is mlp:widths=\(8, 8\) there, conv here. Choose another folder"
    with pytest.raises(ValueError, match=words), open_folder(tmp_path, "toy", other, CELLS):
        pass
    assert (tmp_path / "config.json").read_bytes() == before


def test_a_damaged_config_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"study": ')
    with (
        pytest.raises(ValueError, match=r"config.json must be whole JSON"),
        open_folder(tmp_path, "toy", Config(), CELLS),
    ):
        pass


@pytest.mark.parametrize("place", ["/proc/nowhere/x", "a file/x"])
def test_a_place_that_cannot_be_written_is_said(tmp_path, place):
    (tmp_path / "a file").touch()
    words = "out must be a folder that can be written, got .*x .* Choose another"
    with pytest.raises(OSError, match=words), open_folder(tmp_path / place, "toy", Config(), CELLS):
        pass


def test_two_at_a_time_are_refused(tmp_path):
    again = open_folder(tmp_path, "toy", Config(), CELLS)
    words = "is being written by process"
    with open_folder(tmp_path, "toy", Config(), CELLS), pytest.raises(RuntimeError, match=words):
        again.__enter__()


def test_another_content_of_ones_own_file_is_another_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text("a = 1")
    config = Settings(model="./net.py:width=3", methods=("sgd", "./net.py"))
    before = place(tmp_path, "study", config, [])
    assert place(tmp_path, "study", config, []) == before
    Path("net.py").write_text("a = 2")
    assert place(tmp_path, "study", config, []) != before


@dataclass
class Settings:
    model: str
    methods: tuple[str, ...]
