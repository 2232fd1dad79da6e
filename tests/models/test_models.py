"""What every model must obey, without naming one."""

import pytest
import torch

from lowland.catalog import build, names

SMALL = {"resnet": {"depth": 10, "width": 4}, "vit": {"depth": 2, "width": 16, "heads": 2}}
SHAPE = (3, 16, 16)


@pytest.fixture(params=names("models"))
def model(request):
    return build("models", request.param, shape=SHAPE, classes=7, **SMALL.get(request.param, {}))


def test_it_gives_one_logit_per_class_in_either_mode(model):
    x = torch.randn(5, *SHAPE)
    assert model(x).shape == model.eval()(x).shape == (5, 7)


def test_its_layers_are_modules_that_run_in_the_stated_order(model):
    seen = []
    for name in model.layers:
        model.get_submodule(name).register_forward_hook(lambda *_, name=name: seen.append(name))
    model(torch.randn(2, *SHAPE))
    assert tuple(seen) == model.layers


def test_every_parameter_gets_a_gradient(model):
    model(torch.randn(4, *SHAPE)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_the_global_seed_decides_the_weights(request, model):
    name = type(model).__name__.lower()
    torch.manual_seed(3)
    first = build("models", name, shape=SHAPE, classes=7, **SMALL.get(name, {})).state_dict()
    torch.manual_seed(3)
    again = build("models", name, shape=SHAPE, classes=7, **SMALL.get(name, {})).state_dict()
    assert all(first[key].equal(again[key]) for key in first)


def test_it_has_second_derivatives(model):
    model = model.double().eval()
    w = next(iter(model.parameters()))
    (g,) = torch.autograd.grad(model(torch.randn(2, *SHAPE).double()).logsumexp(1).sum(), w, create_graph=True)
    assert torch.autograd.grad(g.square().sum(), w)[0].isfinite().all()


def test_no_classes_are_refused_by_words(model):
    with pytest.raises(ValueError, match="classes must be at least 1, got 0"):
        type(model)(SHAPE, 0)
