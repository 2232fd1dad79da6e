import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lowland.observe.ranks import (
    alpha_req,
    effective_rank_entropy,
    participation_ratio,
    rank,
    rank_me,
    ranks,
    several,
    stable_rank,
)

SPECTRA = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=30).map(
    lambda sigma: torch.tensor(sigma, dtype=torch.float64).sort(descending=True).values
)


def test_a_share_that_only_reaches_the_threshold_does_not_exceed_it():
    assert rank(torch.ones(100), 0.99) == 100
    assert rank(torch.ones(100), 0.9899) == 99


@pytest.mark.parametrize("of", [effective_rank_entropy, stable_rank, participation_ratio, rank_me])
def test_spectra_that_vanish_have_rank_zero(of):
    assert of(torch.zeros(3)) == 0
    assert of(torch.zeros(0)) == 0
    assert rank(torch.zeros(3), 0.5) == 0


@settings(max_examples=50, deadline=None)
@given(SPECTRA)
def test_definitions_keep_their_order(sigma):
    """A sum of squares is more concentrated than a sum, so these bound each other."""
    effective, n = math.exp(effective_rank_entropy(sigma)), len(sigma)
    assert stable_rank(sigma) >= 1
    assert stable_rank(sigma) <= participation_ratio(sigma) * (1 + 1e-12) <= n * (1 + 1e-12)
    assert participation_ratio(sigma) <= effective * (1 + 1e-9)
    assert abs(math.log(rank_me(sigma) / effective)) <= 2e-6 * n


@settings(max_examples=50, deadline=None)
@given(SPECTRA, st.floats(1e-100, 1e100))
def test_no_definition_changes_under_scaling(sigma, scale):
    one, other = ranks(sigma, 0.9, "rank"), ranks(scale * sigma, 0.9, "rank")
    for (_, a, _, _), (_, b, _, _) in zip(one, other, strict=True):
        assert math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)
    assert abs((alpha_req(sigma, 1, 9) or 0.0) - (alpha_req(scale * sigma, 1, 9) or 0.0)) < 1e-9


def test_every_singular_value_that_vanishes_adds_its_epsilon_to_rank_me():
    bare, padded = rank_me(torch.ones(5)), rank_me(torch.cat([torch.ones(5), torch.zeros(10)]))
    assert math.isclose(math.log(padded / bare), 10 * 1e-7 * math.log(1e7), rel_tol=1e-6)


def test_the_exponent_is_fitted_to_the_eigenvalues_in_range_that_do_not_vanish():
    sigma = torch.arange(1.0, 41, dtype=torch.float64) ** -1.5
    sigma[:10] = 1.0
    sigma[30:] = 0.0
    assert math.isclose(alpha_req(sigma), 3.0, rel_tol=1e-12)
    assert alpha_req(sigma, 1, 30) > 4.0


def test_fewer_than_three_eigenvalues_have_no_exponent():
    assert alpha_req(torch.ones(12)) is None
    assert alpha_req(torch.ones(13)) == 0.0
    assert alpha_req(torch.zeros(50)) is None


def test_one_threshold_or_several():
    assert several(0.9) == (0.9,)
    assert several([0.9, 0.5]) == (0.9, 0.5)
