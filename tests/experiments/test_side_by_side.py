import itertools

import pytest
import torch

from lowland.experiments.side_by_side import batches, compressed, descend, drawn, one_hot_error, outputs


def trained(weights, x, y, steps=5, **how):
    for _ in range(steps):
        descend(weights, (outputs(weights, x, True) - y).square().mean((1, 2)), 0.1, **how)
    return [weight.detach() for weight in weights]


def data(replicas):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(replicas, 7, 3, generator=generator, dtype=torch.float64)
    return x, x.sum(2, keepdim=True)


@pytest.mark.parametrize("how", [{}, {"clip": 0.1}, {"decay": 0.5}])
def test_a_replica_is_trained_as_if_alone(how):
    x, y = data(3)
    together = trained(drawn((3, 4, 1), (5, 6, 7)), x, y, **how)
    alone = trained(drawn((3, 4, 1), (6,)), x[1:2], y[1:2], **how)
    for all_of_them, one in zip(together, alone, strict=True):
        torch.testing.assert_close(all_of_them[1:2], one, rtol=1e-12, atol=1e-12)


def test_is_what_an_optimiser_does_to_a_network():
    (x,), (y,) = data(1)
    weights = drawn((3, 4, 1), (5,))
    net = torch.nn.Sequential(
        torch.nn.Linear(3, 4, bias=False), torch.nn.ReLU(), torch.nn.Linear(4, 1, bias=False)
    ).double()
    for parameter, weight in zip(net.parameters(), weights, strict=True):
        parameter.data.copy_(weight.detach()[0])
    groups = [{"params": [p], "weight_decay": d} for p, d in zip(net.parameters(), (0.5, 0.0), strict=True)]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        (net(x) - y).square().mean().backward()
        optimizer.step()
    for parameter, weight in zip(net.parameters(), trained(weights, x[None], y[None], decay=0.5), strict=True):
        torch.testing.assert_close(parameter.detach(), weight[0], rtol=1e-12, atol=1e-12)


def test_one_that_diverges_leaves_the_others_alone():
    x, y = data(2)
    x[0], y[0] = 1e200, 1e200
    weights = trained(drawn((3, 4, 1), (5, 6)), x, y)
    assert not weights[0][0].isfinite().all()
    assert weights[0][1].isfinite().all()


def test_the_one_hot_error_is_of_every_replica():
    found, y = torch.tensor([[[1.0, 0.0], [0.0, 3.0]], [[0.0, 0.0], [0.0, 1.0]]]), torch.tensor([[0, 1], [0, 1]])
    assert one_hot_error(found, y).tolist() == [2.0, 0.5]
    assert one_hot_error(found[0], y[0]).item() == 2.0


def test_no_step_is_longer_than_the_clipped_gradient():
    x, y = data(2)
    weights = drawn((3, 4, 1), (5, 6))
    before = [weight.detach().clone() for weight in weights]
    after = trained(weights, 100 * x, y, steps=1, clip=0.1)
    length = sum((a - b).square().sum((1, 2)) for a, b in zip(after, before, strict=True)).sqrt()
    torch.testing.assert_close(length, torch.full((2,), 0.01, dtype=torch.float64), rtol=1e-9, atol=0)


def test_batches_of_a_replica_depend_on_its_seed_alone():
    both = torch.stack(list(itertools.islice(batches(50, 4, (1, 2)), 600)))
    one = torch.stack(list(itertools.islice(batches(50, 4, (2,)), 600)))
    assert torch.equal(both[:, 1:], one)
    assert both.shape == (600, 2, 4)
    assert int(both.max()) < 50


def test_the_compressed_data_has_the_same_gradients_for_every_linear_network():
    x, y = data(2)
    small, goal = compressed(x, y)
    assert small.shape == (2, 4, 3)
    found = []
    for inputs, targets in ((x, y), (small, goal)):
        weights = drawn((3, 5, 1), (5, 6))
        loss = (outputs(weights, inputs, False) - targets).square().mean((1, 2)).sum()
        found.append(torch.autograd.grad(loss, weights))
    for full, few in zip(*found, strict=True):
        torch.testing.assert_close(full, few, rtol=1e-9, atol=1e-12)
