import pytest
import torch

from lowland.experiments.trained_rank import STARTS, network, target, trained_rank


def test_the_target_has_rank_two_and_the_network_its_depth():
    x, y, fresh, truth = target(0)
    assert torch.linalg.matrix_rank(truth) == 2
    torch.testing.assert_close(y, x @ truth.T)
    model = network("relu", 3, torch.Generator().manual_seed(0))
    assert [type(each).__name__ for each in model] == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]
    assert model(fresh).shape == (128, 8)


@pytest.mark.parametrize("net", ["linear", "relu"])
def test_a_network_that_learns_says_its_ranks(net):
    row = trained_rank(net, 2, "lbfgs", 0, level=0.05, steps=300)
    assert row["loss"] <= 0.05
    assert not row["diverged"]
    assert row["rank_of_target"] < row["rank"] < row["rank_before"]


def test_a_network_that_does_not_learn_was_given_every_start():
    row = trained_rank("linear", 1, "sgd", 0, level=1e-9, steps=1)
    assert (row["diverged"], row["tries"]) == (True, STARTS)
