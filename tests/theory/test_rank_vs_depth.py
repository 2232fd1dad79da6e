from itertools import pairwise
from math import log

import pytest
import torch

from lowland.observe.ranks import effective_rank_entropy
from lowland.seeds import generator
from lowland.theory.rank_vs_depth import rank_vs_depth

CHAINS = [[64] * 2, [64] * 3, [64] * 5, [64] * 9, [64] * 17, [128, *[64] * 4, 10], [128, *[64] * 16, 10], [16] * 5]


def simulated(sizes, draws, scale=1.0, uniform=False):
    """Mean entropy of draws of a product, and its standard error."""
    rng, found = generator(0, "chains", *sizes), []
    for _ in range(draws):
        W = torch.eye(sizes[0], dtype=torch.float64)
        for a, b in pairwise(sizes):
            draw = torch.rand if uniform else torch.randn
            factor = draw(b, a, generator=rng, dtype=torch.float64) - 0.5 * uniform
            W = scale * factor @ W
        found.append(effective_rank_entropy(torch.linalg.svdvals(W).square()))
    mean = sum(found) / draws
    return mean, (sum((each - mean) ** 2 for each in found) / draws / (draws - 1)) ** 0.5


@pytest.mark.parametrize("sizes", CHAINS, ids=str)
def test_draws_agree_within_the_stated_error(sizes):
    mean, error = simulated(sizes, 60)
    assert abs(mean - rank_vs_depth(sizes)) < 0.05 + 2 * error


def test_square_chains_follow_the_sum_of_one_over_the_depths():
    for depth in (1, 2, 5, 30, 99):
        expected = log(1000) - sum(1 / j for j in range(2, depth + 2))
        assert rank_vs_depth([1000] * (depth + 1)) == pytest.approx(expected, rel=1e-12)


def test_one_factor_is_the_mean_entropy_of_a_subsystem():
    assert rank_vs_depth([50, 800]) == pytest.approx(log(50) - 50 / 800 / 2, rel=1e-12)


def test_draws_do_not_depend_on_scale_and_hardly_on_the_distribution():
    sizes = [64] * 5
    mean, error = simulated(sizes, 60)
    assert simulated(sizes, 60, scale=100.0)[0] == pytest.approx(mean, rel=1e-9)
    other, more = simulated(sizes, 60, uniform=True)
    assert abs(other - mean) < 4 * (error**2 + more**2) ** 0.5


def test_the_order_of_the_sizes_does_not_matter_and_wide_layers_change_nothing():
    assert rank_vs_depth([10, 64, 30]) == pytest.approx(rank_vs_depth([64, 30, 10]), rel=1e-12)
    assert rank_vs_depth([20, 10**9, 20]) == pytest.approx(rank_vs_depth([20, 20]), rel=1e-7)


def test_falls_with_depth():
    found = [rank_vs_depth([64] * (depth + 1)) for depth in range(1, 24)]
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ([64], r"sizes must be at least two, those of input and output, got \[64\]"),
        ([4, 0], "sizes must be at least 1, got 0"),
        ([8] * 9, "sizes must have a sum of one over each of at most 0.4, got 1.12: the chain is too long"),
    ],
)
def test_bad_sizes_are_refused_by_words(sizes, words):
    with pytest.raises(ValueError, match=words):
        rank_vs_depth(sizes)


@pytest.mark.parametrize(("size", "count"), [(40, 16), (100, 40), (200, 80)])
def test_what_is_just_wide_enough_is_taken_however_many_summands(size, count):
    assert rank_vs_depth([size] * count) < 4


def test_sizes_are_whole_numbers():
    with pytest.raises(TypeError, match=r"sizes must be a whole number, got 2\.5"):
        rank_vs_depth([2.5, 10])
