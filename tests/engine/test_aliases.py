"""Tensors that share memory with parameters and gradients."""

import pytest
import torch
from torch import nn

import lowland
from lowland.engine.aliases import overlapping, shared
from rigs import assert_same

METHODS = [lowland.SAM(rho=0.5), lowland.RandomPerturbation(rho=0.5), lowland.LPFSGD(), lowland.ASAM()]


class Cached(nn.Module):
    """Multiplies with a view of its weight, made in the first pass."""

    def __init__(self, cache):
        super().__init__()
        self.w, self.cache, self.view = nn.Parameter(torch.randn(4, 3).double()), cache, None

    def forward(self, x):
        if not self.cache:
            return x @ self.w.t()
        if self.view is None:
            self.view = self.w.t()
        return x @ self.view


class Prompted(nn.Module):
    """Its gradients are parts of one tensor."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.randn(2, 4).double())
        self.places = nn.Parameter(torch.randn(5, 4).double())
        self.out = nn.Linear(4, 2).double()

    def forward(self, x):
        return self.out(torch.tanh(torch.cat([x, self.token])[None] + self.places[None]))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_a_view_that_the_model_caches_moves_with_the_weight(method):
    x = torch.randn(5, 3).double()
    weights = []
    for cache in (False, True):
        torch.manual_seed(0)
        model = Cached(cache)
        opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        engine = method.bind(model, opt)
        for _ in range(5):
            engine.backward(lambda model=model: model(x).square().mean())
            opt.step(), opt.zero_grad()
        weights.append(model.w)
        assert_same(model(x), x @ model.w.t())
    assert_same(*weights)


def test_a_buffer_that_is_a_view_of_a_weight_moves_with_it():
    model = nn.Linear(3, 2).double()
    model.register_buffer("tied", model.weight.detach())
    seen = []

    def loss():
        seen.append(torch.equal(model.tied, model.weight))
        return model(torch.ones(1, 3).double()).square().sum()

    lowland.SAM().bind(model).backward(loss)
    assert seen == [True, True]


def test_a_state_dict_taken_in_a_perturbed_pass_goes_on_showing_the_weights():
    model, kept = nn.Linear(3, 2).double(), []

    def loss():
        kept.append(model.state_dict())
        return model(torch.ones(1, 3).double()).square().sum()

    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    lowland.RandomPerturbation(rho=1.0).bind(model).backward(loss)
    assert_same(kept[0], before)
    with torch.no_grad():
        model.weight.zero_()
    assert not kept[0]["weight"].any()


@pytest.mark.parametrize("rho", [0.1, 0.5])
def test_gradients_that_are_parts_of_one_tensor_give_an_ascent_of_length_rho(rho):
    torch.manual_seed(0)
    model, x, seen = Prompted(), torch.randn(3, 4).double(), []

    def loss():
        seen.append([p.detach().clone() for p in model.parameters()])
        return model(x).square().mean()

    lowland.SAM(rho=rho).bind(model).backward(loss)
    moved = torch.cat([(b - a).reshape(-1) for a, b in zip(*seen, strict=True)])
    assert moved.norm().item() == pytest.approx(rho, rel=1e-12)
    assert_same([p.detach() for p in model.parameters()], seen[0])


def test_overlapping_ranges_are_found_and_the_first_is_spared():
    flat = torch.zeros(10)
    assert overlapping({"a": flat[:6], "b": flat[4:], "c": torch.zeros(3)}) == {"b"}
    assert overlapping({"a": flat[:4], "b": flat[4:]}) == set()


def test_a_view_makes_storage_shared_while_it_lives():
    w = nn.Parameter(torch.zeros(3))
    assert not shared(w)
    view = w.detach()
    assert shared(w)
    del view
    assert not shared(w)
