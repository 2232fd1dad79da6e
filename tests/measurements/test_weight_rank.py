import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lowland.measurements.weight_rank import WeightRank
from lowland.measuring.measure import measure

SEEDS = st.integers(0, 2**31)
NAMES = ("weight_rank", "effective_rank_entropy", "effective_rank", "stable_rank", "participation_ratio")


def linear(W):
    layer = nn.Linear(W.shape[1], W.shape[0], bias=False).to(W.dtype)
    layer.weight = nn.Parameter(W.clone())
    return layer


def readings(W, **fields):
    return measure(linear(W), None, [], WeightRank(**fields))


def ranks(W, **fields):
    return {r.name: r.value for r in readings(W, **fields)}


def random_weight(seed, m=9, n=6):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(m, n, generator=g, dtype=torch.float64) * torch.logspace(0, -1, n), g


def assert_same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(5, 30), (30, 5), (8, 8), (1, 4)])
def test_equals_numpys_svd(shape):
    W = torch.randn(shape, dtype=torch.float64)
    sigma = np.linalg.svd(W.numpy(), compute_uv=False)
    q, energy = sigma / sigma.sum(), sigma**2
    entropy = -(q * np.log(q)).sum()
    values = (
        (np.cumsum(energy) / energy.sum() <= 0.99).sum() + 1 if shape[0] > 1 else 1,
        entropy,
        np.exp(entropy),
        energy.sum() / energy[0],
        energy.sum() ** 2 / (energy**2).sum(),
    )
    expected = dict(zip(NAMES, map(float, values), strict=True)) | {"spectral_norm": float(sigma[0])}
    assert_same(ranks(W), expected)


def test_the_identity_uses_every_direction_and_an_outer_product_one():
    assert_same(
        ranks(3 * torch.eye(4)),
        {**dict(zip(NAMES, (4.0, math.log(4), 4.0, 4.0, 4.0), strict=True)), "spectral_norm": 3.0},
    )
    one = ranks(torch.outer(torch.ones(4), torch.ones(9)).double())
    assert_same(one, {**dict(zip(NAMES, (1.0, 0.0, 1.0, 1.0, 1.0), strict=True)), "spectral_norm": 6.0})


def test_the_product_of_gaussian_matrices_has_the_entropy_of_random_matrix_theory():
    """ln n - sum of 1 / j for j from 2 to L + 1 is the limit for the squares of a product of L factors."""
    n, draw = 256, torch.Generator().manual_seed(0)
    W = torch.eye(n, dtype=torch.float64)
    for depth in (1, 2, 3):
        W = torch.randn(n, n, generator=draw, dtype=torch.float64) @ W
        limit = math.log(n) - sum(1 / j for j in range(2, depth + 2))
        assert abs(ranks(W @ W.T)["effective_rank_entropy"] - limit) < 0.02


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.floats(1e-3, 1e3))
def test_ranks_do_not_change_under_rotation_transposition_permutation_or_scaling(seed, scale):
    W, g = random_weight(seed)
    turn = torch.linalg.qr(torch.randn(9, 9, generator=g, dtype=torch.float64))[0]
    one = ranks(W)
    for other in (turn @ W, W.T, W[torch.randperm(9, generator=g)], -scale * W):
        found = ranks(other)
        assert_same({k: found[k] for k in NAMES}, {k: one[k] for k in NAMES})
    assert math.isclose(ranks(scale * W)["spectral_norm"], scale * one["spectral_norm"], rel_tol=1e-9)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_units_that_are_repeated_add_no_rank(seed):
    W, _ = random_weight(seed)
    assert_same({k: ranks(W.repeat(3, 1))[k] for k in NAMES}, {k: ranks(W)[k] for k in NAMES})


def test_a_kernel_is_the_matrix_of_its_taps():
    conv = nn.Conv2d(3, 8, 3, bias=False).double()
    found = measure(conv, None, [], WeightRank())
    assert {r.name: r.value for r in found} == ranks(conv.weight.detach().flatten(1))
    assert {"shape": [8, 3, 3, 3], "matrix": [8, 27]}.items() <= found[0].settings.items()


def test_a_matrix_that_vanishes_has_rank_zero():
    assert set(ranks(torch.zeros(3, 4)).values()) == {0.0}


def test_several_thresholds_give_one_rank_each_and_layers_choose():
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    found = measure(model, None, [], WeightRank(threshold=(0.5, 0.9), layers="2"))
    assert [(r.name, r.settings.get("threshold")) for r in found][:3] == [
        ("weight_rank", 0.5),
        ("weight_rank", 0.9),
        ("effective_rank_entropy", None),
    ]
    assert {r.site for r in found} == {"2.weight"}


def test_bad_fields_are_refused_by_words():
    with pytest.raises(ValueError, match=r"threshold must be in \(0, 1\), got 1.0"):
        WeightRank(threshold=(0.5, 1.0))
