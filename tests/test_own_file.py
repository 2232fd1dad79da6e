import pytest

from lowland.catalog import build, load
from lowland.own_file import own_file

NET = "import torch\nclass Net(torch.nn.Linear):\n    def __init__(self, shape, classes, width=2):\n"
NET += "        super().__init__(shape[1], classes * width)\n"


def test_a_file_is_loaded_once(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("value = object()")
    assert own_file(str(file), "study") is own_file(str(file), "study")


def test_a_file_that_fails_to_load_can_be_tried_again(tmp_path):
    file = tmp_path / "broken.py"
    file.write_text("1 / 0")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            own_file(str(file), "study")


def test_a_model_of_ones_own_is_built_like_any_other(tmp_path):
    (tmp_path / "net.v2.py").write_text(NET)
    model = build("models", f"{tmp_path}/net.v2.py:width=3", shape=(1, 4, 4), classes=5)
    assert model.weight.shape == (15, 4)


def test_a_file_without_a_class_is_refused(tmp_path):
    (tmp_path / "none.py").write_text("x = 1")
    with pytest.raises(LookupError, match=r"none.py must define a class, or name what it offers in __all__"):
        load("models", str(tmp_path / "none.py"))


def test_a_missing_file_is_said():
    with pytest.raises(FileNotFoundError, match=r"The model must be a name or a Python file, got no.py: no such"):
        load("models", "no.py")
