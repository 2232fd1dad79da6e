import pytest
import torch

from lowland.models.resnet import ResNet


def test_depth_18_and_width_64_has_the_papers_weights_on_cifar10():
    with torch.device("meta"):
        assert sum(p.numel() for p in ResNet((3, 32, 32), 10).parameters()) == 11_172_170


def test_its_third_stage_has_the_papers_features_on_cifar10():
    seen = {}
    with torch.device("meta"):
        net = ResNet((3, 32, 32), 10).eval()
        for name in net.layers:
            net.get_submodule(name).register_forward_hook(
                lambda _, __, out, name=name: seen.update({name: out.shape[1:]})
            )
        net(torch.zeros(2, 3, 32, 32))
    assert (seen["stage3"], seen["last"], seen["pool"]) == ((256, 8, 8), (512, 4, 4), (512,))


@pytest.mark.parametrize(("depth", "layers"), [(10, 9), (18, 17), (26, 25), (34, 33)])
def test_depth_counts_convolutions_on_the_main_path_and_the_head(depth, layers):
    net = ResNet((3, 32, 32), 10, depth=depth, width=2)
    assert sum(isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3) for m in net.modules()) == layers


def test_a_block_adds_to_its_input():
    block = ResNet((3, 32, 32), 10, width=4).stage1[0].double()
    x = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(block(x) - x, block.residual(block.activated(x)), rtol=1e-9, atol=1e-12)


def test_an_unknown_depth_is_refused_by_words():
    with pytest.raises(ValueError, match="depth must be one of 10, 18, 26, 34, got 20"):
        ResNet((3, 32, 32), 10, depth=20)


def test_its_activation_can_be_chosen():
    net = ResNet((3, 8, 8), 2, depth=10, width=2, activation="beta_gelu:beta=4")
    kinds = [type(m).__name__ for m in net.modules()]
    assert (kinds.count("BetaGELU"), kinds.count("ReLU")) == (9, 0)
