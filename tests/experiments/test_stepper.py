import pytest
import torch

from lowland.experiments.stepper import OPTIMIZERS, stepper


def walked(name, weights):
    step = stepper(name, weights, 0.01)
    for _ in range(4):
        for i, weight in enumerate(weights):
            weight.grad = torch.sin(weight * (i + 1)).detach()
        step()
    return weights


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_a_replica_is_stepped_as_a_network_of_its_own(name):
    torch.manual_seed(0)
    start = [torch.randn(3, 4, 5, dtype=torch.float64), torch.randn(3, 2, 4, dtype=torch.float64)]
    together = walked(name, [torch.nn.Parameter(w.clone()) for w in start])
    alone = walked(name, [torch.nn.Parameter(w[1:2].clone()) for w in start])
    for all_of_them, one in zip(together, alone, strict=True):
        torch.testing.assert_close(all_of_them[1:2], one, rtol=1e-9, atol=1e-12)


def test_muon_takes_orthogonal_steps():
    weight = torch.nn.Parameter(torch.zeros(2, 4, 8))
    step = stepper("Muon", [weight], 1.0)
    weight.grad = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))
    step()
    singular = torch.linalg.svdvals(weight.detach())
    assert (singular.max() / singular.min()).item() < 2
    assert weight.grad is None


def test_an_unknown_optimiser_is_refused_by_words():
    with pytest.raises(ValueError, match="name must be one of SGD, momentum, Adam, AdamW, Muon, got 'Lion'"):
        stepper("Lion", [], 0.1)
