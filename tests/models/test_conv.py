import pytest
import torch

from lowland.models.conv import Conv


@pytest.mark.parametrize(
    ("shape", "strides", "features", "weights"),
    [
        ((1, 8, 8), (1, 2, 2), [1024, 512, 256], 25_978),
        ((1, 28, 28), (2, 2, 2), [3136, 1568, 1024], 33_658),
        ((3, 32, 32), (2, 2, 2), [4096, 2048, 1024], 33_946),
    ],
)
def test_strides_features_and_weights_are_as_documented(shape, strides, features, weights):
    conv, seen = Conv(shape, 10), []
    for block in conv.blocks:
        block.register_forward_hook(lambda _, __, out: seen.append(out[0].numel()))
    conv(torch.zeros(2, *shape))
    assert (conv.strides, seen, sum(p.numel() for p in conv.parameters())) == (strides, features, weights)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 9), (1, 3, 40)])
def test_any_image_size_serves(shape):
    assert Conv(shape, 3, widths=(4, 4, 4, 4)).eval()(torch.zeros(2, *shape)).shape == (2, 3)


def test_strides_can_be_chosen():
    assert Conv((1, 8, 8), 10, widths=(4, 4), strides=(1, 1)).head.in_features == 4 * 8 * 8


def test_biases_stand_in_where_there_is_no_batch_norm():
    conv = Conv((1, 8, 8), 10, batch_norm=False)
    assert conv.blocks[0][0].bias is not None
    assert not any("running" in name for name in conv.state_dict())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"widths": ()}, "widths and strides must be equally many, at least one, got"),
        ({"strides": (2, 2)}, "widths and strides must be equally many, at least one, got"),
        ({"widths": (4, 0)}, "width must be at least 1, got 0"),
        ({"strides": (1, 0, 1)}, "stride must be at least 1, got 0"),
        ({"activation": "swish"}, "activation must be one of relu, gelu, silu, tanh, .*, got 'swish'"),
    ],
)
def test_bad_arguments_are_refused_by_words(settings, words):
    with pytest.raises(ValueError, match=words):
        Conv((1, 8, 8), 10, **settings)
