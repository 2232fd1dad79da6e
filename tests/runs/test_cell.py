import math

import pytest
import torch

from lowland.runs.cell import check_cells, describe, key, to_json


def test_different_cells_have_different_keys():
    cells = [{"a": 1}, {"a": "1"}, {"a": 1.0}, {"b": 1}, {"a": None}, {"a": True}, {}]
    assert len({key(cell) for cell in cells}) == len(cells)


def test_a_key_is_a_file_name_however_long_its_cell():
    name = key({"method": "../sam:rho=0.1/" + "x" * 500, "data": "."})
    assert len(name) < 80
    assert "/" not in name
    assert not name.startswith((".", "-"))


def test_the_same_value_gives_the_same_text():
    assert to_json({"a": [1.5, None, True, "é"]}) == '{"a": [1.5, null, true, "é"]}'
    assert math.isnan(float(to_json(math.nan)))


def test_a_tensor_is_refused():
    with pytest.raises(TypeError, match=r"must hold plain numbers.*got Tensor. Turn tensors into numbers"):
        to_json({"loss": torch.ones(1)})


def test_an_empty_grid_is_refused():
    with pytest.raises(ValueError, match="toy must have at least one run with these settings, got none"):
        check_cells("toy", [])


def test_a_run_listed_twice_is_refused():
    with pytest.raises(ValueError, match=r"toy must list each run once, got seed 0, rho 0\.1 twice"):
        check_cells("toy", [{"seed": 0, "rho": 0.1}, {"seed": 0, "rho": 0.1}])


def test_a_cell_is_described_in_words():
    assert describe({"method": "sgd", "seed": 0}) == "method sgd, seed 0"
