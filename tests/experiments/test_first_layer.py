import math

import pytest
import torch
from torch import nn

from lowland.experiments.first_layer import as_layer, over_start


def test_norms_are_over_those_at_the_start():
    model, start = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1)), nn.Linear(3, 2)
    found = over_start(model, start, (True, False, False))
    after, before = model[0].weight, start.weight
    assert found["irrelevant"] == pytest.approx((after[:, 1:].norm() / before[:, 1:].norm()).item())
    assert found["relevant"] == pytest.approx((after[:, :1].norm() / before[:, :1].norm()).item())
    assert found["log"] == pytest.approx(math.log(found["irrelevant"]))
    assert 0 <= found["auroc"] <= 1


def test_nothing_has_changed_at_the_start():
    layer = nn.Linear(3, 2)
    found = over_start(layer, layer, (True, False, False))
    assert (found["irrelevant"], found["log"], found["relevant"]) == (1, 0, 1)


def test_the_layer_has_the_weight_and_no_bias():
    found = as_layer(torch.ones(3, 2))
    assert found(torch.tensor([[1.0, 2.0]])).tolist() == [[3.0, 3.0, 3.0]]
