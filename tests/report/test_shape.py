import random

import pytest
from scipy import stats

from lowland.report.grid import Grid, IncompleteError
from lowland.report.shape import at_level, dip, spearman, trend


def grid(outcome, points=(0.0, 0.1, 0.2, 0.4), seeds=5, gone=()):
    rows = [{"rho": p, "seed": s, "y": outcome(p, s)} for p in points for s in range(seeds) if (p, s) not in gone]
    return Grid.of(rows, "y")


def test_spearman_equals_scipys_with_ties():
    chance = random.Random(1)
    x, y = [[chance.randrange(4) for _ in range(9)] for _ in range(2)]
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y)[0], rel=1e-9)


def test_a_constant_outcome_has_no_trend():
    found = trend(grid(lambda p, s: 7))
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_a_fall_in_every_seed_is_minus_one_without_width():
    found = trend(grid(lambda p, s: s - p**2))
    assert (found.value, found.low, found.high, found.seeds) == (-1, -1, -1, 5)


def test_a_trend_stays_within_its_range():
    found = trend(grid(lambda p, s: -p if s else p * (0.25 - p), seeds=3))
    assert -1 == found.low < found.value < found.high <= 1


def test_a_trend_carries_the_doubt_of_its_grid():
    assert "rho 0.1, seed 2 is missing" in trend(grid(lambda p, s: p, gone=[(0.1, 2)])).doubt


def test_a_valley_falls_and_rises():
    found = dip(grid(lambda p, s: (p - 0.1) ** 2 + s))
    assert found.chosen == (0.1,) * 5
    assert (found.fall.value, found.rise.value) == pytest.approx((0.01, 0.09))


def test_a_slope_does_not_rise_again():
    assert dip(grid(lambda p, s: s - p)).rise.value < 0


def test_noise_alone_does_not_look_like_a_dip():
    def valley(seed):
        chance = random.Random(seed)
        return dip(grid(lambda p, s: chance.gauss(0, 1), points=range(8)))

    found = [valley(seed) for seed in range(400)]
    assert abs(sum(each.fall.value for each in found) / 400) < 4 * 0.65 / 400**0.5
    assert sum(each.fall.low > 0 for each in found) / 400 < 0.07 + 4 * (0.07 * 0.93 / 400) ** 0.5
    assert sum(each.fall.low > 0 and each.rise.low > 0 for each in found) / 400 < 0.025


def test_the_best_is_chosen_by_the_other_seeds():
    lucky = {0.1: -9.0, 0.2: 0.0}
    found = dip(grid(lambda p, s: lucky.get(p, 1.0) if s == 0 else 1 - p * (p < 0.4), seeds=3))
    assert found.chosen[0] == 0.2
    assert found.chosen[1:] == (0.1, 0.1)


def test_a_dip_needs_a_grid_from_zero_with_an_inside():
    with pytest.raises(IncompleteError, match=r"needs rho 0 and at least 2 larger values, got 0.1, 0.2, 0.3"):
        dip(grid(lambda p, s: p, points=(0.1, 0.2, 0.3)))


def test_a_dip_needs_other_seeds_to_choose():
    with pytest.raises(IncompleteError, match="A U-shape needs at least 2 complete seeds, got 1"):
        dip(grid(lambda p, s: p, seeds=1))


def test_a_trend_needs_two_settings():
    with pytest.raises(IncompleteError, match="at least 2 values of rho, got 1"):
        trend(grid(lambda p, s: p, points=(0.1,)))


def test_spearman_refuses_unequal_lengths():
    with pytest.raises(ValueError, match="same length of at least 2, got 2 and 3"):
        spearman([1, 2], [1, 2, 3])


def test_at_level_is_none_where_the_level_is_never_reached():
    assert at_level([3.0, 2.0], [1.0, 5.0], 1.0) is None
    assert at_level([3.0, 2.0], [1.0, 5.0], 4.0) == 1.0


def test_at_level_takes_the_first_crossing():
    assert at_level([3.0, 1.0, 2.0, 0.0], [10.0, 20.0, 30.0, 40.0], 1.5) == pytest.approx(17.5)


def test_at_level_refuses_unequal_lengths():
    with pytest.raises(ValueError, match="same length of at least 1, got 0, 0"):
        at_level([], [], 1.0)
