import math
import random

import pytest
from scipy import stats

from lowland.report.interval import Interval, interval, paired


def test_equals_scipys_t_interval():
    values = [random.Random(seed).gauss(3, 2) for seed in range(7)]
    low, high = stats.t.interval(0.95, 6, loc=sum(values) / 7, scale=stats.sem(values))
    found = interval(values)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-12)


def test_covers_the_true_mean_as_often_as_it_says():
    chance = random.Random(0)
    found = [interval([chance.gauss(1, 3) for _ in range(4)], confidence=0.8) for _ in range(1500)]
    share = sum(each.low < 1 < each.high for each in found) / 1500
    assert abs(share - 0.8) < 4 * math.sqrt(0.8 * 0.2 / 1500)


def test_one_seed_says_nothing_about_spread():
    found = interval([2.5])
    assert (found.value, found.low, found.high, found.seeds) == (2.5, -math.inf, math.inf, 1)
    assert str(found) == "2.5"


def test_equal_values_give_no_width():
    found = interval([0.1, 0.1, 0.1])
    assert found.low == found.value == found.high == 0.1


def test_pairing_removes_what_seeds_share():
    shared = [0.0, 50.0, -20.0]
    found = paired([s + 1.0 + e for s, e in zip(shared, (0.1, 0, -0.1), strict=True)], shared)
    assert 0 < found.low < 1 < found.high < 2


def test_text_has_the_digits_that_the_width_deserves():
    assert str(Interval(value=4544.2, low=4400.1, high=4688.3, seeds=5)) == "4544 [4400, 4688]"


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_refuses_what_is_no_number(values):
    with pytest.raises(ValueError, match="values must be finite numbers, at least one, got"):
        interval(values)


def test_refuses_a_confidence_that_is_no_fraction():
    with pytest.raises(ValueError, match=r"confidence must be in \(0, 1\), got 95"):
        interval([1.0, 2.0], confidence=95)


def test_refuses_unequal_arms():
    with pytest.raises(ValueError, match="one value per seed each, got 2 and 1"):
        paired([1.0, 2.0], [1.0])
