"""Convolutions and batch norms with quick second derivatives are PyTorch's in every other respect."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn import functional

from lowland.operators.derivatives.quick import Quick

SHAPES = {1: (2, 4, 9), 2: (2, 4, 7, 6), 3: (2, 4, 5, 4, 5)}
KINDS = [
    {},
    {"bias": False},
    {"stride": 2, "padding": 1},
    {"dilation": 2, "padding": 2},
    {"groups": 2},
    {"groups": 4, "stride": 2},
    {"padding": "same"},
    {"padding": "valid"},
    {"padding": 1, "padding_mode": "circular"},
]


def twice(layer, x, linear, context):
    """The output, its gradients, and the gradients of a random number made of those."""
    draw = torch.Generator().manual_seed(3)
    inputs = [x.requires_grad_(), *(p for p in layer.parameters() if p.requires_grad)]
    with context:
        y = layer(x)
    g = torch.randn(y.shape, dtype=y.dtype, generator=draw, requires_grad=True)
    first = torch.autograd.grad(y, inputs, g, create_graph=True)
    weights = [torch.randn(t.shape, dtype=t.dtype, generator=draw) for t in first]
    second = torch.autograd.grad(first, [g] if linear else [g, *inputs], weights, allow_unused=True)
    return [y, *first, *second]


def assert_alike(layer, x, linear=False):
    found, expected = (twice(layer, x, linear, context) for context in (Quick(linear=linear), nullcontext()))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("dimensions", SHAPES)
def test_convolutions(dimensions, kind, linear):
    build = getattr(nn, f"Conv{dimensions}d")
    layer, x = build(4, 8, 3, dtype=torch.float64, **kind), torch.randn(SHAPES[dimensions], dtype=torch.float64)
    assert_alike(layer, x, linear)


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("dimensions", SHAPES)
def test_batch_norms(dimensions, affine, training, linear):
    layer = getattr(nn, f"BatchNorm{dimensions}d")(4, affine=affine, dtype=torch.float64).train(training)
    layer.running_mean.normal_()
    layer.running_var.uniform_(0.5, 2)
    x = torch.randn(SHAPES[dimensions], dtype=torch.float64)
    assert_alike(layer, x, linear)


def test_batch_norms_without_statistics_and_rows():
    for layer in (nn.BatchNorm1d(4, track_running_stats=False).double(), nn.BatchNorm1d(4).double().eval()):
        x = torch.randn(5, 4, dtype=torch.float64)
        assert_alike(layer, x)


@pytest.mark.parametrize("frozen", ["weight", "bias"])
def test_frozen_parts(frozen):
    layer = nn.Conv2d(4, 8, 3, dtype=torch.float64)
    getattr(layer, frozen).requires_grad_(False)
    x = torch.randn(SHAPES[2], dtype=torch.float64)
    assert_alike(layer, x)


def test_mixed_and_complex_numbers():
    layers = nn.BatchNorm2d(4).eval(), nn.Conv2d(4, 2, 3, dtype=torch.complex64)
    for layer, dtype in zip(layers, (torch.bfloat16, torch.complex64), strict=True):
        x = torch.randn(SHAPES[2]).to(dtype)
        with Quick():
            found = layer(x)
        assert found.dtype == dtype
        torch.testing.assert_close(found, layer(x))


def test_an_image_without_a_batch():
    x, w = torch.randn(4, 7, 6, dtype=torch.float64), torch.randn(8, 4, 3, 3, dtype=torch.float64)
    with Quick():
        found = functional.conv2d(x, weight=w, padding=(1, 0))
    torch.testing.assert_close(found, functional.conv2d(x, w, padding=(1, 0)))


@pytest.mark.parametrize("linear", [False, True])
def test_its_graph_is_its_own(linear):
    layer = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1).eval())
    with Quick(linear=linear):
        assert "NativeBatchNorm" not in layer(torch.ones(1, 1, 2, 2)).grad_fn.name()
        assert layer[0](torch.ones(1, 1, 2, 2)).grad_fn.next_functions[0][0].name() == "_ConvolutionBackward"
