import pytest
import torch

from lowland.observe.pooled import pooled, refuse_other_width


def test_flatten_keeps_all_in_order():
    x = torch.arange(24.0).reshape(2, 3, 2, 2)
    torch.testing.assert_close(pooled(x), x.reshape(2, 12))
    assert pooled(torch.ones(3)).shape == (3, 1)


def test_mean_averages_maps_over_positions_and_tokens_over_tokens():
    maps, tokens = torch.randn(2, 3, 4, 5), torch.randn(2, 7, 3)
    torch.testing.assert_close(pooled(maps, "mean"), maps.mean((2, 3)))
    torch.testing.assert_close(pooled(tokens, "mean"), tokens.mean(1))
    torch.testing.assert_close(pooled(maps[:, :, 0, 0], "mean"), maps[:, :, 0, 0])


def test_first_is_token_zero():
    tokens = torch.randn(2, 7, 3)
    torch.testing.assert_close(pooled(tokens, "first"), tokens[:, 0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64])
def test_narrow_features_become_single_precision(dtype):
    assert pooled(torch.ones(2, 3, dtype=dtype), "mean").dtype == torch.float32


def test_first_refuses_maps_by_words():
    with pytest.raises(ValueError, match=r"tokens of shape \(n, t, d\), got \(2, 3, 4, 4\). Use pool='mean'"):
        pooled(torch.ones(2, 3, 4, 4), "first")


def test_tokens_and_positions_become_rows():
    maps, tokens = torch.randn(2, 3, 4, 5), torch.randn(2, 7, 3)
    torch.testing.assert_close(pooled(tokens, "tokens"), torch.cat([tokens[0], tokens[1]]))
    torch.testing.assert_close(
        pooled(maps, "tokens"), torch.stack([m[:, i, j] for m in maps for i in range(4) for j in range(5)])
    )
    torch.testing.assert_close(pooled(tokens[:, 0], "tokens"), tokens[:, 0])


def test_an_unknown_pooling_lists_the_choices():
    with pytest.raises(ValueError, match="pool must be one of flatten, mean, first, tokens, got 'max'"):
        pooled(torch.ones(2, 3), "max")


def test_another_width_than_before_is_refused_by_words():
    refuse_other_width("act", torch.ones(2, 3), 3)
    with pytest.raises(
        ValueError, match=r"Layer 'act' must answer with 4 features to every batch.*got 3. For seq"
    ):
        refuse_other_width("act", torch.ones(2, 3), 4)
