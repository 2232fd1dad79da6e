import pytest

from lowland.report.excess import excess


def test_a_seed_counts_once_however_many_pairs_it_has():
    pairs = [{"seed": seed, "sam": 1.0, "sgd": sgd} for seed, sgd in ((0, 1.0), (0, 0.5), (1, 0.5), (2, 0.25))]
    found = excess(pairs, "sam", "sgd")
    assert (found.value, found.seeds) == (pytest.approx((50 + 100 + 300) / 3), 3)


def test_nothing_to_compare_is_refused():
    with pytest.raises(ValueError, match="values must be finite numbers, at least one"):
        excess([], "sam", "sgd")
