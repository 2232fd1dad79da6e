import math

import pytest
import torch
from torch import nn

from lowland.measurements.accuracy import Accuracy
from lowland.measurements.class_accuracy import ClassAccuracy
from lowland.measuring.measure import measure


def readings(scores, labels, size=2):
    data = list(zip(scores.split(size), torch.tensor(labels).split(size), strict=True))
    return measure(nn.Identity(), None, data, [ClassAccuracy(), Accuracy()])


def test_each_class_has_the_share_of_its_own_examples_with_the_binomial_error():
    first, second, *_ = readings(torch.eye(2, dtype=torch.float64)[[0, 0, 1, 1, 1]], [0, 0, 0, 0, 1])
    assert (first.value, first.settings["class"], first.settings["examples"]) == (0.5, 0, 4)
    assert math.isclose(first.stderr, math.sqrt(0.5 * 0.5 / 4))
    assert (second.value, second.settings["class"], second.stderr) == (1.0, 1, 0.0)


def test_a_class_without_examples_has_no_reading():
    found = readings(torch.eye(3, dtype=torch.float64)[[0, 2]], [0, 2])
    assert [each.settings["class"] for each in found if each.name == "class_accuracy"] == [0, 2]


def test_weighted_by_the_examples_they_are_the_accuracy():
    scores = torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    *classes, whole = readings(scores, [i % 3 for i in range(50)], size=7)
    total = sum(each.value * each.settings["examples"] for each in classes)
    assert total / 50 == pytest.approx(whole.value, rel=1e-12)
