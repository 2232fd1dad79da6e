import math

import torch
from torch import nn

from lowland.measurements.accuracy import Accuracy
from lowland.measuring.measure import measure


def accuracy(scores, labels, size=3):
    data = list(zip(torch.tensor(scores).split(size), torch.tensor(labels).split(size), strict=True))
    return measure(nn.Identity(), None, data, Accuracy())[0]


def test_is_the_share_of_right_answers_with_its_binomial_error():
    found = accuracy([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0], [0.0, 5.0], [1.0, 0.0]], [0, 1, 0, 0, 0])
    assert math.isclose(found.value, 0.8)
    assert math.isclose(found.stderr, math.sqrt(0.8 * 0.2 / 5))
    assert found.settings == {"split": "data", "examples": 5}


def test_among_equal_scores_the_smallest_class_counts():
    assert accuracy([[1.0, 1.0], [1.0, 1.0]], [0, 1]).value == 0.5


def test_each_split_has_its_own_reading():
    right, wrong = (torch.eye(2), torch.tensor([0, 1])), (torch.eye(2), torch.tensor([1, 0]))
    found = measure(nn.Identity(), None, {"train": [right], "test": [wrong]}, Accuracy())
    assert [(r.settings["split"], r.value) for r in found] == [("train", 1.0), ("test", 0.0)]
