import pytest
import torch
from torch import nn

from lowland.measuring.groups import after, groups
from lowland.operators.problem import problem

X, Y = torch.arange(14.0).view(7, 2), torch.arange(7) % 2


def of(size, x=X, y=Y):
    return problem(
        nn.Linear(2, 2), nn.functional.cross_entropy, list(zip(x.split(size), y.split(size), strict=True))
    )


def rows(batches):
    return torch.cat([batch.inputs for batch in batches]).tolist()


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_groups_do_not_depend_on_the_size_of_the_batches(size):
    found = [rows(group) for group in groups(of(size), 3)]
    assert found == [X[:3].tolist(), X[3:6].tolist()]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_the_rest_is_what_comes_after_the_first(size):
    assert rows(after(of(size), 3)) == X[3:].tolist()
    assert rows(after(of(size), 0)) == X.tolist()


def test_without_a_number_there_is_one_group_of_all_batches():
    (group,) = groups(of(2), None)
    assert rows(group) == X.tolist()


def test_more_than_there_are_is_refused_by_words():
    with pytest.raises(ValueError, match=r"m must be at most the number of examples, 7, got 8"):
        list(groups(of(2), 8))


def test_batches_that_cannot_be_cut_are_refused_by_words():
    p = problem(
        nn.Bilinear(2, 2, 2), nn.functional.cross_entropy, [([X, X[:1].expand(7, 2)], Y)], count=lambda x, y: 14
    )
    with pytest.raises(ValueError, match=r"a row for each of its 14 examples .* got shape \(7, 2\)"):
        list(groups(p, 2))
