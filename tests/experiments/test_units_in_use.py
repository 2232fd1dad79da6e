import pytest
import torch
from torch import nn

from lowland.experiments.units_in_use import units_in_use


def test_of_copies_one_is_in_use_and_of_idle_units_none():
    model = nn.Sequential(nn.Linear(2, 4, bias=False), nn.ReLU()).double()
    model[0].weight.data = torch.tensor([[1.0, 0.0], [3.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]).double()
    x = torch.tensor([[1.0, 1.0], [2.0, -1.0], [3.0, -2.0], [4.0, -1.0]]).double()
    assert units_in_use(model, [(x, x)], ["1"]) == {"1": pytest.approx((1 + 0.25) / 4)}


def test_a_layer_too_wide_to_look_for_copies_is_refused_by_words():
    x = torch.ones(2, 1)
    with pytest.raises(ValueError, match=r"layers of at most 4096 units, got more in 1: choose a narrower one"):
        units_in_use(nn.Sequential(nn.Linear(1, 4097), nn.ReLU()), [(x, x)], ["1"])
