import pytest
import torch
from torch import nn

from lowland.models.mlp import MLP


def test_it_is_linear_layers_with_activations_between():
    mlp = MLP((1, 3, 3), 2, widths=(5, 4), activation="tanh").double()
    (a, _), (b, _) = mlp.blocks
    x = torch.randn(6, 1, 3, 3, dtype=torch.float64)
    expected = mlp.head(torch.tanh(b(torch.tanh(a(x.flatten(1))))))
    torch.testing.assert_close(mlp(x), expected, rtol=1e-9, atol=1e-12)


def test_without_widths_it_is_linear():
    assert [type(m) for m in MLP((1, 3, 3), 2, widths=()).modules()] == [MLP, nn.Sequential, nn.Linear]


def test_batch_norm_comes_before_the_activation():
    assert [type(m) for m in MLP((1, 3, 3), 2, widths=(5,), batch_norm=True).blocks[0]] == [
        nn.Linear,
        nn.BatchNorm1d,
        nn.ReLU,
    ]


def test_an_unknown_activation_is_refused_by_words():
    with pytest.raises(ValueError, match=r"activation must be one of relu, gelu, silu, tanh, .*, got 'swish'"):
        MLP((1, 3, 3), 2, activation="swish")


def test_a_width_of_zero_is_refused_by_words():
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        MLP((1, 3, 3), 2, widths=(0,))
