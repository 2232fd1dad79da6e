from itertools import pairwise

import pytest
import torch
from torch import nn

import lowland
from lowland.methods.gradient_penalty import GradientPenalty
from lowland.models.mlp import MLP


def direction(method, model):
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(20, 1, 3, 3, generator=draw, dtype=torch.float64)
    y = torch.randint(3, (20,), generator=draw)
    model.zero_grad()
    method.bind(model).backward(lowland.objective(model, nn.functional.cross_entropy, x, y))
    return torch.cat([p.grad.reshape(-1) for p in model.parameters()])


def network(activation, widths=(8, 8)):
    torch.manual_seed(0)
    return MLP((1, 3, 3), 3, widths=widths, activation=activation).double()


def off(activation, rho, nme="keep"):
    """How far the direction is from SAM's, over rho."""
    model = network(activation)
    return (
        direction(GradientPenalty(rho=rho, nme=nme), model) - direction(lowland.SAM(rho=rho), model)
    ).norm() / rho


def test_is_sam_to_first_order_in_rho_for_a_smooth_network():
    errors = [off("gelu", rho).item() for rho in (1e-2, 1e-3, 1e-4)]
    assert [a / b for a, b in pairwise(errors)] == pytest.approx([10, 10], rel=0.05)


@pytest.mark.parametrize(("activation", "nme"), [("ablated_gelu", "keep"), ("gelu", "ablated")])
def test_is_not_sam_to_first_order_without_a_part_of_the_hessian(activation, nme):
    errors = [off(activation, rho, nme).item() for rho in (1e-2, 1e-4)]
    assert errors[1] > 0.5 * errors[0]


def test_a_network_that_is_linear_in_its_weights_has_nothing_to_ablate():
    model = network("relu", widths=())
    torch.testing.assert_close(
        direction(GradientPenalty(rho=0.5), model), direction(GradientPenalty(rho=0.5, nme="ablated"), model)
    )


def test_an_unknown_intervention_is_refused_by_words():
    with pytest.raises(ValueError, match="nme must be one of keep, ablated, got 'half'"):
        GradientPenalty(nme="half")
