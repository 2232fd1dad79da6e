import random

import numpy as np
import pytest
import torch

from lowland.train.recipe import Recipe
from train.problem import EPOCHS, RECIPES, assert_same_training, trained, whole


def vandal(model, moment):
    """Does everything that a hook should not."""
    model.eval()
    model.requires_grad_(False)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.zero_()
    torch.rand(3), random.random(), np.random.rand()
    return {"norm": 0.0}


def test_what_hooks_find_joins_the_rows():
    hooks = [
        lambda net, moment: {"at": [moment.epoch, moment.epochs]},
        lambda net, moment: {"twice": 2},
        lambda *_: None,
    ]
    history = trained(Recipe(epochs=2), hooks=hooks)[1]
    assert history.column("at") == [[1, 2], [2, 2]]
    assert history.column("twice") == [2, 2]


def test_hooks_see_the_row_so_far():
    history = trained(Recipe(epochs=1), hooks=[lambda net, moment: {"doubled": 2 * moment.row["loss"]}])[1]
    assert history.last["doubled"] == 2 * history.last["loss"]


@pytest.mark.parametrize("name", ["sgd, momentum, cosine", "each micro-batch"])
def test_training_goes_the_same_way_with_hooks_and_without(name):
    net, history = trained(RECIPES[name], hooks=[vandal])
    assert [row.pop("norm") for row in history.rows] == [0.0] * EPOCHS
    assert_same_training((net, history), whole(name))


def test_a_name_that_the_row_has_already_is_refused():
    with pytest.raises(ValueError, match="The hook vandal must return new names, got 'norm', which the row has"):
        trained(Recipe(epochs=1), hooks=[vandal, vandal])


def test_what_is_no_json_is_refused():
    with pytest.raises(TypeError, match=r"must return plain numbers and strings, got: .*Tensor is not JSON"):
        trained(Recipe(epochs=1), hooks=[lambda *_: {"rank": torch.ones(1)}])
