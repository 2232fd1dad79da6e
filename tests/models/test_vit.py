import pytest
import torch
import torch.nn.functional as F

from lowland.models.vit import Attention, ViT


def small(**settings):
    return ViT((3, 16, 16), 5, **{"depth": 2, "width": 12, "heads": 3, "patch": 4} | settings)


def test_attention_is_that_of_the_fused_kernel():
    attention, x = Attention(12, 3).double(), torch.randn(2, 7, 12, dtype=torch.float64)
    q, k, v = (a.unflatten(2, (3, 4)).transpose(1, 2) for a in attention.qkv(x).chunk(3, dim=2))
    expected = attention.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(x), expected, rtol=1e-9, atol=1e-12)


def test_the_residual_stream_has_a_class_token_and_a_token_per_patch():
    seen = []
    vit = small()
    vit.get_submodule(vit.layers[-1]).register_forward_hook(lambda _, __, out: seen.append(out.shape))
    vit(torch.zeros(2, 3, 16, 16))
    assert seen == [(2, 17, 12)]


def test_positions_tell_patches_apart():
    vit, x = small().eval(), torch.randn(1, 3, 16, 16)
    assert not torch.allclose(vit(x), vit(x.flip(-1)), atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"patch": 5}, "patch must divide the image's height 16 and width 16, got 5"),
        ({"heads": 5}, "heads must divide width 12, got 5"),
        ({"depth": 0}, "depth must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_refused_by_words(settings, words):
    with pytest.raises(ValueError, match=words):
        small(**settings)
