"""What is kept of a weight: all of it, in every dtype."""

import pytest
import torch
from torch import nn

from lowland.layers.expand import expand


def rounding(dtype):
    """A few eps of the dtype; those of the decomposition, in float64, grow with the size."""
    return max(4 * torch.finfo(dtype).eps, 1e-12)


def relative(found, wanted):
    return ((found.double() - wanted.double()).norm() / wanted.double().norm()).item()


def linear(weight):
    layer = nn.Linear(*weight.shape[::-1], bias=False, dtype=weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(weight)
    return layer


def of_condition(n, condition):
    """A matrix with singular values from 1 down to 1 / condition, in float64."""
    U, V = (torch.linalg.qr(torch.randn(n, n, dtype=torch.float64)).Q for _ in range(2))
    return (U * torch.logspace(0, -torch.tensor(condition).log10(), n, dtype=torch.float64)) @ V


@pytest.mark.parametrize("depth", [2, 4])
@pytest.mark.parametrize("n", [16, 128, 512])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_a_weight_is_kept_in_its_dtype_at_any_size(dtype, n, depth):
    layer = nn.Linear(n, n, dtype=dtype)
    assert relative(expand(layer, depth=depth).weight, layer.weight) < rounding(dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("condition", [1e3, 1e8])
def test_a_weight_of_ill_condition_is_kept(condition, dtype):
    layer = linear(of_condition(64, condition).to(dtype))
    assert relative(expand(layer, depth=3).weight, layer.weight) < rounding(dtype)


def test_small_directions_beside_a_large_one_are_kept():
    shared = torch.randn(1, 16) + 0.001 * torch.randn(20000, 16)
    layer = linear(shared)
    found, wanted = (
        w.double() - w.double().mean(0) for w in (expand(layer, width=16 / 20000).weight, layer.weight)
    )
    assert relative(found, wanted) < 1e-3  # float32 itself has 1e-7 of the large one, so 1e-4 of these


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("depth", [2, 4])
def test_units_that_hold_rounding_alone_are_not_dead(depth, dtype):
    layer = linear(torch.randn(32, 4, dtype=dtype) @ torch.randn(4, 32, dtype=dtype))
    wide = expand(layer, depth=depth)
    size = wide.parametrizations.weight.original0.norm(dim=1)
    assert size.min() > size.max() / 10
    assert relative(wide.weight, layer.weight) < rounding(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_width_of_the_rank_is_wide_enough(dtype):
    layer = linear(torch.randn(96, 8, dtype=dtype) @ torch.randn(8, 96, dtype=dtype))
    assert relative(expand(layer, width=8 / 96).weight, layer.weight) < 2 * rounding(dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_a_width_that_would_drop_more_than_rounding_is_refused(dtype):
    with pytest.raises(ValueError, match=r"width must leave at least \d+ hidden units.*got 32: widen"):
        expand(nn.Linear(64, 64, dtype=dtype), width=0.5)
