"""The faults of the published code of this method, one by one: ours has none of them."""

import pytest
import torch
from torch import nn

from lowland.layers.collapse import collapse
from lowland.layers.expand import expand

MODES = pytest.mark.parametrize("mode", ["weight", "activation"])


@MODES
@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({"kernel_size": 3, "groups": 8}, (1, 8, 9, 9)),
        ({"kernel_size": 3, "dilation": 2}, (1, 8, 9, 9)),
        ({"kernel_size": (1, 7)}, (1, 8, 9, 9)),
    ],
)
def test_1_groups_dilation_and_kernels_that_are_not_square_are_kept(settings, shape, mode):
    layer = nn.Conv2d(8, 8, **settings)
    plain, x = collapse(expand(layer, mode=mode)), torch.randn(shape)
    assert plain.weight.numel() == layer.weight.numel()
    assert expand(layer, mode=mode)(x).shape == layer(x).shape


@MODES
def test_2_residuals_with_a_stride_collapse_on_odd_inputs(mode):
    layer = nn.Conv2d(4, 4, 3, stride=2, padding=1).double()
    for sizes in ((3, 1, 1), (1, 1, 3)):
        wide = expand(layer, 3, kernel_sizes=sizes, residual=True, init="kaiming", mode=mode)
        x = torch.randn(2, 4, 7, 9, dtype=torch.float64)
        torch.testing.assert_close(collapse(wide)(x), wide(x), rtol=0, atol=1e-10)


@MODES
def test_3_pretrained_weights_are_kept(mode):
    layer = nn.Linear(5, 5).double()
    weight = collapse(expand(layer, depth=4, mode=mode)).weight
    torch.testing.assert_close(weight, layer.weight, rtol=0, atol=1e-12)


@MODES
def test_4_train_and_eval_return_the_module(mode):
    wide = expand(nn.Linear(2, 2), mode=mode)
    assert wide.train() is wide.eval() is wide.train().to(torch.float64)


@MODES
def test_5_a_model_that_is_itself_a_layer_is_expanded(mode):
    wide = expand(nn.Conv1d(2, 2, 3), depth=4, mode=mode)
    assert sum(p.ndim > 1 for p in wide.parameters()) == 4


@MODES
def test_6_the_collapsed_weight_is_a_parameter_with_a_gradient(mode):
    plain = collapse(expand(nn.Linear(2, 2), mode=mode))
    plain(torch.randn(3, 2)).sum().backward()
    assert isinstance(plain.weight, nn.Parameter)
    assert plain.weight.grad is not None


@MODES
def test_7_the_plain_model_is_one_of_plain_layers_and_names(mode):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2, 2))
    plain = collapse(expand(model, depth=3, mode=mode))
    assert [type(each) for each in plain.modules()] == [type(each) for each in model.modules()]
    model.load_state_dict(plain.state_dict())


def test_8_the_eps_of_batch_norm_and_the_mode_of_padding_count():
    layer = nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect").double()
    wide = expand(layer, batch_norm=True, mode="activation").eval()
    wide.norms[0].eps = 0.5
    x = torch.randn(1, 2, 5, 5, dtype=torch.float64)
    torch.testing.assert_close(collapse(wide)(x), wide(x), rtol=0, atol=1e-10)
    assert collapse(wide).padding_mode == "reflect"


@MODES
def test_9_settings_count_by_value_on_any_device(mode):
    wide = expand(nn.Linear(300, 300, device="meta"), depth=int("2"), width=float("1"), init="kaiming", mode=mode)
    assert [tuple(p.shape) for p in wide.parameters() if p.ndim == 2] == [(300, 300)] * 2
    assert {p.device.type for p in wide.parameters()} == {"meta"}
