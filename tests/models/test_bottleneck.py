import pytest
import torch

from lowland.models.bottleneck import Bottleneck

SHAPE = (1, 4, 4)
MLP = "mlp:widths=(12,)"


def seen_by_head(net, n=40):
    """What the head sees of random images, minus its mean."""
    kept = []
    net.get_submodule("net.head.up").register_forward_hook(lambda _, __, out: kept.append(out.detach()))
    net(torch.randn(n, *SHAPE, dtype=torch.float64))
    return kept[0] - kept[0].mean(0)


@pytest.mark.parametrize("trained", [True, False])
def test_the_head_sees_no_more_components_than_its_rank(trained):
    net = Bottleneck(SHAPE, 3, rank=5, model=MLP, trained=trained).double()
    assert torch.linalg.matrix_rank(seen_by_head(net)) == 5


@pytest.mark.parametrize("trained", [True, False])
def test_it_begins_as_an_orthogonal_projection_and_is_trained_or_not(trained):
    head = Bottleneck(SHAPE, 3, rank=5, model=MLP, trained=trained).double().net.head
    P = head.up.weight @ head.down.weight
    torch.testing.assert_close(P @ P, P, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(P, P.T)
    assert {p.requires_grad for layer in (head.up, head.down) for p in layer.parameters()} == {trained}


def test_as_wide_as_the_features_it_changes_nothing_at_first():
    torch.manual_seed(0)
    net = Bottleneck(SHAPE, 3, rank=12, model=MLP).double()
    x = torch.randn(6, *SHAPE, dtype=torch.float64)
    expected = net.net.head.head(net.net.blocks(x.flatten(1)))
    torch.testing.assert_close(net(x), expected, rtol=1e-6, atol=1e-6)


def test_a_wider_one_is_refused_by_words():
    with pytest.raises(ValueError, match="rank must be at most 12, the width of the features, got 13"):
        Bottleneck(SHAPE, 3, rank=13, model=MLP)


def test_a_network_without_a_linear_head_is_refused_by_words():
    with pytest.raises(TypeError, match="model must have a linear layer called head, got 'bottleneck'"):
        Bottleneck(SHAPE, 3, model="bottleneck")
