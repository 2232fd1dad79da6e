import math

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from lowland.measurements.train_test_gap import TrainTestGap
from lowland.measuring.measure import measure


def gaps(train, test):
    found = measure(nn.Identity(), None, {"test": [test], "train": [train]}, TrainTestGap())
    return {r.name: r for r in found}


def test_is_positive_for_a_model_that_does_better_on_the_training_data():
    train, test = (torch.eye(4), torch.arange(4)), (torch.eye(4), torch.tensor([0, 1, 2, 0]))
    found = gaps(train, test)
    loss = cross_entropy(test[0].double(), test[1]) - cross_entropy(train[0].double(), train[1])
    assert math.isclose(found["accuracy_gap"].value, 0.25)
    assert math.isclose(found["loss_gap"].value, loss.item())


def test_the_errors_of_both_splits_add_in_squares():
    train, test = (torch.eye(2), torch.tensor([0, 0])), (torch.eye(4), torch.tensor([0, 1, 2, 0]))
    expected = math.sqrt(0.25 / 2 + 0.75 * 0.25 / 4)
    assert math.isclose(gaps(train, test)["accuracy_gap"].stderr, expected)


def test_states_both_splits_and_their_examples():
    found = gaps((torch.eye(2), torch.arange(2)), (torch.eye(3), torch.arange(3)))["loss_gap"]
    assert found.settings == {"split": "train/test", "examples": [2, 3]}
