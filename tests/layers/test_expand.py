import copy

import pytest
import torch
from torch import nn

import lowland
from layers.cases import LAYERS, SETTINGS, case, factors
from lowland.engine.sites import sites
from lowland.layers.collapse import collapse
from lowland.layers.expand import expand

EXACT = {"rtol": 0, "atol": 1e-12}


def generator():
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("mode", ["weight", "activation"])
def test_an_expanded_layer_gives_the_same_outputs(name, setting, mode):
    layer, x = case(name)
    wide = expand(layer, mode=mode, **SETTINGS[setting])
    torch.testing.assert_close(wide(x), layer(x), **EXACT)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", LAYERS)
def test_both_modes_give_the_same_outputs_and_gradients(name, setting):
    layer, x = case(name)
    modes = ("weight", "activation")
    pair = [expand(layer, init="kaiming", mode=m, generator=generator(), **SETTINGS[setting]) for m in modes]
    outputs = [each(x) for each in pair]
    torch.testing.assert_close(*outputs, rtol=1e-11, atol=1e-11)
    v = torch.randn_like(outputs[0])
    grads = [torch.autograd.grad((v * y).sum(), factors(each)) for y, each in zip(outputs, pair, strict=True)]
    torch.testing.assert_close(*grads, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("mode", ["weight", "activation"])
@pytest.mark.parametrize("sizes", [(3, 3), ((5, 1), (1, 5)), (1, 5), (2, 4)])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_any_kernel_sizes_that_make_the_kernel_make_one_layer(kind, sizes, mode):
    layer = kind(4, 6, 5, stride=2, padding=2, groups=2).double()
    x = torch.randn(2, 4, 9, 8, dtype=torch.float64)
    wide = expand(layer, kernel_sizes=sizes, init="kaiming", mode=mode)
    torch.testing.assert_close(collapse(wide)(x), wide(x), **EXACT)
    assert tuple(collapse(wide).weight.shape) == tuple(layer.weight.shape)


def test_a_kernel_in_the_last_factor_preserves_too():
    layer, x = nn.Conv2d(4, 6, 3).double(), torch.randn(2, 4, 7, 7, dtype=torch.float64)
    torch.testing.assert_close(expand(layer, depth=3, kernel_sizes=(1, 1, 3))(x), layer(x), **EXACT)


def test_factors_are_balanced_and_share_the_singular_values():
    layer = nn.Linear(6, 6).double()
    first, middle, last = (p for n, p in sorted(expand(layer, depth=3).named_parameters()) if "original" in n)
    torch.testing.assert_close(middle.mT @ middle, first @ first.mT, **EXACT)
    torch.testing.assert_close(last.mT @ last, middle @ middle.mT, **EXACT)
    sigma = torch.linalg.svdvals(layer.weight)
    total = sum(p.square().sum() for p in (first, middle, last))
    torch.testing.assert_close(total, 3 * (sigma ** (2 / 3)).sum(), **EXACT)


@pytest.mark.parametrize("mode", ["weight", "activation"])
def test_a_weight_of_zeros_can_be_trained(mode):
    layer = nn.Linear(4, 3, bias=False).double()
    nn.init.zeros_(layer.weight)
    wide = expand(layer, depth=3, width=2, mode=mode)
    x = torch.randn(8, 4, dtype=torch.float64)
    assert wide(x).abs().max() == 0
    target, optimizer = x[:, :3], torch.optim.SGD(wide.parameters(), lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        (wide(x) - target).square().mean().backward()
        optimizer.step()
    assert (wide(x) - target).square().mean() < 1e-3


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_kaiming_factors_keep_the_variance_at_every_depth(depth):
    x = torch.randn(2000, 200, dtype=torch.float64)
    wide = expand(nn.Linear(200, 300, bias=False).double(), depth=depth, init="kaiming", generator=generator())
    assert wide(x).var().item() == pytest.approx(2, rel=0.15)


@pytest.mark.parametrize("mode", ["weight", "activation"])
def test_the_model_given_is_not_changed(mode):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    before = copy.deepcopy(model.state_dict())
    expand(model, mode=mode)
    assert [type(each) for each in model] == [nn.Linear, nn.ReLU, nn.Linear]
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_only_the_layers_asked_for_are_expanded():
    model = nn.ModuleDict({"blocks": nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), "head": nn.Linear(4, 2)})
    names = {name for name, _ in expand(model, include="blocks", exclude=["blocks.1"]).named_parameters()}
    assert "blocks.0.parametrizations.weight.original0" in names
    assert {"blocks.1.weight", "head.weight"} <= names


def test_parts_of_a_model_can_have_different_depths():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    wide = expand(expand(model, depth=3, include="0", mode="activation"), depth=2, include="1")
    assert len(wide[0].factors) == 3
    assert wide[1].parametrizations.weight.ntensors == 2
    x = torch.randn(3, 4)
    torch.testing.assert_close(collapse(wide)(x), model(x))


@pytest.mark.parametrize("mode", ["weight", "activation"])
def test_frozen_weights_have_frozen_factors(mode):
    layer = nn.Linear(3, 3)
    layer.weight.requires_grad_(False)
    wide = expand(layer, mode=mode)
    assert [p.requires_grad for p in wide.parameters()].count(True) == 1  # the bias
    plain = collapse(wide)
    assert (plain.weight.requires_grad, plain.bias.requires_grad) == (False, True)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


@pytest.mark.parametrize("mode", ["weight", "activation"])
def test_tied_weights_stay_tied_through_training_and_collapse(mode):
    model, x = Tied().double(), torch.randn(5, 4, dtype=torch.float64)
    wide = expand(model, depth=3, mode=mode)
    assert len(list(wide.parameters())) == 4  # three factors and a bias
    torch.testing.assert_close(wide(x), model(x), **EXACT)
    torch.optim.SGD(wide.parameters(), lr=0.1).step(lambda: wide(x).square().sum().backward())
    plain = collapse(wide)
    assert plain.first.weight is plain.second.weight
    torch.testing.assert_close(plain(x), wide(x), **EXACT)


def test_an_embedding_tied_to_the_head_follows_it():
    model = nn.ModuleDict({"embed": nn.Embedding(7, 4), "head": nn.Linear(4, 7, bias=False)}).double()
    model["head"].weight = model["embed"].weight
    wide, tokens = expand(model), torch.tensor([1, 5])
    torch.testing.assert_close(wide["embed"](tokens), model["embed"](tokens), **EXACT)
    assert len(list(wide.parameters())) == 2
    plain = collapse(wide)
    assert plain["embed"].weight is plain["head"].weight


def test_settings_of_the_layer_can_be_read_in_activation_space():
    model = nn.Sequential(nn.Linear(3, 4), nn.Conv2d(3, 4, 5, padding="same", dilation=2))
    linear, convolution = expand(model, mode="activation")
    assert (linear.in_features, linear.out_features) == (3, 4)
    names = ("kernel_size", "padding", "dilation", "stride", "groups", "in_channels", "padding_mode")
    assert [getattr(convolution, name) for name in names] == [getattr(model[1], name) for name in names]


@pytest.mark.parametrize("mode", ["weight", "activation"])
def test_a_layer_used_under_two_names_stays_one(mode):
    layer = nn.Linear(4, 4).double()
    wide = expand(nn.Sequential(layer, nn.ReLU(), layer), mode=mode)
    assert wide[0] is wide[2]
    plain = collapse(wide)
    assert plain[0] is plain[2]


@pytest.mark.parametrize("settings", [{}, {"kdim": 3, "vdim": 5}])
def test_attention_is_expanded_matrix_by_matrix(settings):
    attention = nn.MultiheadAttention(6, 2, batch_first=True, **settings).double()
    q, k, v = (torch.randn(2, 4, settings.get(name, 6), dtype=torch.float64) for name in ("qdim", "kdim", "vdim"))
    wide = expand(attention, depth=3)
    torch.testing.assert_close(wide(q, k, v)[0], attention(q, k, v)[0], **EXACT)
    assert not [name for name, _ in wide.named_parameters() if name.endswith("_weight")]
    plain = collapse(wide)
    assert list(plain.state_dict()) == list(attention.state_dict())
    torch.testing.assert_close(plain(q, k, v)[0], attention(q, k, v)[0], **EXACT)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("settings", [{}, {"mode": "activation", "exclude": "self_attn"}])
def test_a_transformer_layer_works_on_its_fast_path_too(settings, training):
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).double().train(training)
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(expand(layer, **settings)(x), layer(x), **EXACT)


@pytest.mark.parametrize("mode", ["weight", "activation"])
def test_sam_on_an_expanded_model_is_sam_on_its_factors(mode):
    model = expand(nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)).double(), depth=3, mode=mode)
    by_hand = copy.deepcopy(model)
    x, y = torch.randn(9, 5, dtype=torch.float64), torch.arange(9) % 3

    def loss(of):
        return nn.functional.cross_entropy(of(x), y)

    lowland.SAM(rho=0.1).bind(model).backward(lambda: loss(model))
    weights = list(by_hand.parameters())
    g = torch.autograd.grad(loss(by_hand), weights)
    norm = torch.stack([each.norm() for each in g]).norm()
    with torch.no_grad():
        for w, each in zip(weights, g, strict=True):
            w += 0.1 * each / norm
    h = torch.autograd.grad(loss(by_hand), weights)
    torch.testing.assert_close([w.grad for w in model.parameters()], list(h), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mode", ["weight", "activation"])
def test_factors_are_ordinary_parameters_that_share_no_memory(mode):
    model = expand(nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(4, 4)), depth=3, mode=mode)
    assert len(sites(model)) == 8


def test_a_weight_in_weight_space_can_be_assigned():
    layer, new = expand(nn.Linear(3, 3).double(), depth=3), torch.randn(3, 3, dtype=torch.float64)
    layer.weight = new
    torch.testing.assert_close(layer.weight, new, **EXACT)


def test_generators_make_factors_repeatable():
    made = [expand(nn.Linear(3, 4), init="kaiming", generator=generator(), include=()).weight for _ in range(2)]
    torch.testing.assert_close(*made, rtol=0, atol=0)
