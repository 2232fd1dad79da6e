import pytest
import torch
from torch import nn

from lowland.measuring.filter_direction import filter_direction
from lowland.operators.problem import problem
from lowland.seeds import generator


def of(model):
    return problem(model, nn.functional.cross_entropy, (torch.randn(3, 2, 4, 4), torch.zeros(3, dtype=torch.long)))


def net():
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))


def test_every_filter_is_as_long_as_the_weights_own_and_vectors_do_not_move():
    p = of(net())
    for d, w in zip(p.split(filter_direction(p, generator(0))), p.parameters.values(), strict=True):
        if w.ndim == 1:
            assert not d.any()
        else:
            torch.testing.assert_close(d.flatten(1).norm(dim=1), w.detach().flatten(1).norm(dim=1))


def test_directions_scale_with_the_filters():
    p = of(net())
    before = p.split(filter_direction(p, generator(0)))[0]
    with torch.no_grad():
        p.model[0].weight[1] *= 5
    after = p.split(filter_direction(p, generator(0)))[0]
    torch.testing.assert_close(after, before * torch.tensor([1.0, 5.0, 1.0])[:, None, None, None])


def test_a_filter_of_zeros_stays():
    p = of(net())
    with torch.no_grad():
        p.model[0].weight[1] = 0
    assert not p.split(filter_direction(p, generator(0)))[0][1].any()


def test_weights_without_a_matrix_are_refused_by_words():
    p = of(nn.Sequential(nn.BatchNorm2d(2), nn.Flatten()))
    with pytest.raises(ValueError, match=r"needs a weight matrix that is not zero, got none"):
        filter_direction(p, generator(0))
