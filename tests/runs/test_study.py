import pickle

import pytest

from lowland.runs.study import Study


def test_a_file_is_a_study_named_after_it(chain):
    study = Study(chain)
    assert study.name == "chain"
    assert len(study.cells(study.module.Config(seeds=2))) == 4


def test_settings_from_a_file_can_be_sent(chain):
    config = Study(chain).module.Config(seeds=2)
    assert pickle.loads(pickle.dumps(config)) == config


def test_a_file_may_import_its_neighbours(tmp_path):
    (tmp_path / "neighbour_of_a_study.py").write_text("ANSWER = 'Why?'")
    lines = "from neighbour_of_a_study import ANSWER as QUESTION\nConfig = dict\ncells = run = list\n"
    (tmp_path / "mine.py").write_text(lines)
    assert Study(str(tmp_path / "mine.py")).module.QUESTION == "Why?"


def test_a_missing_part_is_named(tmp_path):
    (tmp_path / "half.py").write_text("QUESTION = 'Why?'\nConfig = dict\n")
    with pytest.raises(
        TypeError, match="study half must define QUESTION, Config, cells, run; it lacks cells, run"
    ):
        Study(str(tmp_path / "half.py"))


def test_a_missing_file_is_said():
    with pytest.raises(
        FileNotFoundError, match=r"must be a name or a Python file, got .*nowhere.py: no such file"
    ):
        Study("nowhere.py")


def test_an_unknown_name_is_refused():
    with pytest.raises(LookupError, match="There is no study called 'sam_raises_everything'"):
        Study("sam_raises_everything")


def test_changed_code_is_noticed(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("QUESTION = ''\nConfig = dict\ncells = run = list\n")
    study = Study(str(file))
    before = study.source()
    file.write_text(file.read_text() + "# more\n")
    assert study.source() != before
