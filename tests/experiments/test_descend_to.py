import copy

import pytest
import torch
from torch import nn

from lowland.experiments.descend_to import OPTIMIZERS, descend_to
from lowland.seeds import generator


def problem():
    model, x = nn.Linear(4, 2, bias=False).double(), torch.randn(9, 4, dtype=torch.float64)
    y = torch.randn(9, 2, dtype=torch.float64) * 0.1 + x[:, :2]
    return model, lambda: (model(x) - y).square().mean()


@pytest.mark.parametrize("how", OPTIMIZERS)
def test_every_way_gets_to_the_level_and_stops_there(how):
    model, loss = problem()
    left = descend_to(0.05, model, loss, how, 3000, generator(0))
    assert left <= 0.05
    assert loss().item() == pytest.approx(left, rel=1e-9)


@pytest.mark.parametrize("how", OPTIMIZERS)
def test_a_level_out_of_reach_says_what_is_left(how):
    model, loss = problem()
    assert descend_to(0.0, model, loss, how, 5, generator(0)) == pytest.approx(loss().item(), rel=1e-9)


def test_a_rate_that_diverges_is_followed_by_a_third_of_it_from_the_same_start():
    model, _ = problem()
    x = torch.eye(4, dtype=torch.float64) * 4
    fast, slow = copy.deepcopy(model), copy.deepcopy(model)
    left = descend_to(1e-3, fast, lambda: fast(x).square().sum(), "sgd", 200, generator(0))
    optimizer = torch.optim.SGD(slow.parameters(), 0.1 / 3)
    while (value := slow(x).square().sum()) > left:
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    torch.testing.assert_close(list(fast.parameters()), list(slow.parameters()))


def test_a_loss_that_diverges_at_every_rate_is_infinite():
    model, _ = problem()
    assert descend_to(0.1, model, lambda: model.weight.square().sum() * 1e9, "sgd", 50, generator(0)) == float(
        "inf"
    )


def test_an_unknown_way_is_refused_by_words():
    model, loss = problem()
    with pytest.raises(
        ValueError, match="how must be one of sgd, momentum, adam, lbfgs, random search, got 'sga'"
    ):
        descend_to(0.1, model, loss, "sga", 5, generator(0))
