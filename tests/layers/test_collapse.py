import copy

import pytest
import torch
from torch import nn

from layers.cases import LAYERS, SETTINGS, case
from lowland.layers.collapse import collapse
from lowland.layers.expand import expand

EXACT = {"rtol": 0, "atol": 1e-10}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("mode", ["weight", "activation"])
def test_the_plain_layer_is_exact_and_has_the_plain_names(name, setting, mode):
    layer, x = case(name)
    wide = expand(layer, init="kaiming", mode=mode, **SETTINGS[setting])
    plain = collapse(wide)
    torch.testing.assert_close(plain(x), wide(x), **EXACT)
    assert type(plain) is type(layer)
    assert {n: v.shape for n, v in plain.state_dict().items()} == {
        n: v.shape for n, v in layer.state_dict().items()
    }


def settle(norms, generator):
    """Statistics and lines as after training."""
    for norm in norms:
        for name in ("weight", "bias", "running_mean"):
            getattr(norm, name).data.normal_(generator=generator)
        norm.running_var.uniform_(0.5, 2, generator=generator)
        norm.eps = 0.1


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("name", [name for name in LAYERS if "without bias" not in name and name != "depthwise"])
def test_batch_norm_is_folded_exactly(name, residual):
    layer, x = case(name)
    wide = expand(layer, depth=3, batch_norm=True, residual=residual, init="kaiming", mode="activation").eval()
    settle(wide.norms, torch.Generator().manual_seed(1))
    torch.testing.assert_close(collapse(wide)(x), wide(x), **EXACT)


def test_batch_norm_begins_as_the_identity_in_evaluation():
    layer, x = case("linear of sequences, growing")
    wide = expand(layer, depth=3, batch_norm=True, mode="activation")
    torch.testing.assert_close(wide.eval()(x), layer(x), **EXACT)
    flat = wide.train()(x)
    assert (flat - layer(x)).abs().max() > 0.1
    assert wide.norms[0].num_batches_tracked == 1


def test_batch_norm_gives_a_bias_to_a_layer_without():
    wide = expand(nn.Linear(3, 3, bias=False).double(), batch_norm=True, mode="activation").eval()
    settle(wide.norms, torch.Generator().manual_seed(1))
    x = torch.randn(4, 3, dtype=torch.float64)
    torch.testing.assert_close(collapse(wide)(x), wide(x), **EXACT)
    assert collapse(wide).bias is not None


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", [name for name in LAYERS if "reflect" not in name])
def test_batch_norm_takes_an_input_without_a_batch_as_a_batch_of_one(name, training):
    layer, x = case(name)
    wide = expand(layer, depth=3, batch_norm=True, init="kaiming", mode="activation").train(training)
    if training and x.ndim == 2:
        pytest.skip("batch norm has nothing to train on in a single vector")
    once, twice = copy.deepcopy(wide), wide
    torch.testing.assert_close(once(x[0]), twice(x[:1])[0], **EXACT)
    torch.testing.assert_close(once.state_dict(), twice.state_dict(), **EXACT)


def test_a_length_as_large_as_the_channels_is_no_batch():
    wide = expand(nn.Conv1d(3, 4, 3, padding=1).double(), batch_norm=True, mode="activation").eval()
    settle(wide.norms, torch.Generator().manual_seed(1))
    x = torch.randn(3, 4, dtype=torch.float64)
    torch.testing.assert_close(wide(x), collapse(wide)(x), **EXACT)


@pytest.mark.parametrize("mode", ["weight", "activation"])
def test_shared_biases_stay_shared(mode):
    model = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.LayerNorm(4)])
    model[1].weight, model[1].bias, model[2].bias = model[0].weight, model[0].bias, model[3].bias
    plain = collapse(expand(model, mode=mode))
    assert plain[0].bias is plain[1].bias
    assert plain[2].bias is plain[3].bias
    assert len(list(plain.parameters())) == len(list(model.parameters()))
    assert plain[0].bias is not model[0].bias


@pytest.mark.parametrize(("weight", "bias"), [(False, False), (False, True), (True, False), (False, None)])
def test_batch_norm_keeps_what_is_frozen(weight, bias):
    layer = nn.Linear(3, 4, bias=bias is not None)
    layer.weight.requires_grad_(weight)
    if layer.bias is not None:
        layer.bias.requires_grad_(bias)
    wide = expand(layer, batch_norm=True, mode="activation")
    plain = collapse(wide)
    assert {p.requires_grad for n, p in wide.named_parameters() if n != "own_bias"} == {weight}
    assert (plain.weight.requires_grad, plain.bias.requires_grad) == (weight, bool(bias))


@pytest.mark.parametrize("mode", ["weight", "activation"])
def test_compiled_parts_stay_compiled_and_follow_their_factors(mode):
    block = torch.compile(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2)).double(), backend="eager")
    x = torch.randn(2, 3, dtype=torch.float64)
    model = nn.Sequential(block)
    before, wide = model(x), expand(model, mode=mode)
    torch.testing.assert_close(wide(x), before, **EXACT)
    with torch.no_grad():
        for p in wide.parameters():
            p.mul_(1.5)
    plain = collapse(wide)
    torch.testing.assert_close(plain(x), wide(x), **EXACT)
    assert (wide(x) - before).abs().max() > 0.1
    assert list(plain.state_dict()) == list(model.state_dict())


@pytest.mark.parametrize("mode", ["weight", "activation"])
def test_a_layer_that_is_compiled_by_itself_is_refused(mode):
    layer = torch.compile(expand(nn.Linear(2, 2), mode=mode), backend="eager")
    with pytest.raises(ValueError, match=r"'0' must not be compiled by itself, got .*: put that, its _orig_mod"):
        collapse(nn.Sequential(layer))


@pytest.mark.parametrize("mode", ["weight", "activation"])
def test_collapsing_leaves_the_expanded_model_to_train_on(mode):
    wide = expand(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), mode=mode)
    x = torch.randn(3, 4)
    before = wide(x)
    collapse(wide)
    collapse(wide)
    torch.testing.assert_close(wide(x), before, rtol=0, atol=0)


@pytest.mark.parametrize("mode", ["weight", "activation"])
def test_plain_parameters_come_in_the_order_that_they_had(mode):
    model = nn.Sequential(nn.Linear(4, 4), nn.MultiheadAttention(4, 2, kdim=3), nn.Conv1d(2, 2, 3))
    plain = collapse(expand(model, mode=mode, exclude="1" if mode == "activation" else ()))
    assert [name for name, _ in plain.named_parameters()] == [name for name, _ in model.named_parameters()]


def test_a_model_that_is_not_expanded_is_copied():
    layer = nn.Linear(2, 2)
    plain = collapse(layer)
    assert plain is not layer
    torch.testing.assert_close(plain.state_dict(), layer.state_dict(), rtol=0, atol=0)


def test_another_parametrisation_on_top_is_refused():
    layer = nn.utils.parametrizations.weight_norm(expand(nn.Linear(2, 2)))
    with pytest.raises(ValueError, match="'0' must have no parametrisation but its factors: take the others off"):
        collapse(nn.Sequential(layer))


@pytest.mark.parametrize("mode", ["weight", "activation"])
def test_a_state_dict_carries_an_expanded_model_over(mode):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    first, second = (expand(model, init="kaiming", depth=3, mode=mode) for _ in range(2))
    second.load_state_dict(first.state_dict())
    x = torch.randn(3, 4)
    torch.testing.assert_close(second(x), first(x), rtol=0, atol=0)
