import pytest
import torch

from lowland.data.tail import tail, tail_counts


@pytest.mark.parametrize(
    ("factor", "counts"),
    [
        (100, [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]),
        (10, [5000, 3871, 2997, 2320, 1796, 1391, 1077, 834, 645, 500]),
        (1, [5000] * 10),
    ],
)
def test_cifar10_gets_the_published_counts(factor, counts):
    assert tail_counts(5000, factor, 10) == counts


def test_the_first_examples_of_each_class_are_kept_in_stored_order():
    y = torch.tensor([1, 0, 1, 0, 1, 0, 1, 0])
    assert tail(y, 4, 2).tolist() == [0, 1, 3, 5, 7]


def test_factor_one_keeps_everything():
    assert tail(torch.tensor([2, 2, 0, 1]), 1, 3).tolist() == [0, 1, 2, 3]


def test_no_class_vanishes():
    assert tail_counts(10, 1000, 5)[-1] == 1


def test_a_factor_below_one_is_refused_by_words():
    with pytest.raises(ValueError, match=r"factor must be a finite number >= 1, got 0\.5"):
        tail(torch.zeros(4), 0.5, 2)
