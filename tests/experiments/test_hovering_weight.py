import pytest

from lowland.experiments.hovering_weight import hovering_weight
from lowland.theory.stabilised_loss import stabilised_loss


@pytest.mark.parametrize(("rate", "period"), [(0.9, 1), (1.05, 2), (1.2, 2), (1.24, 4), (1.6, 0)])
def test_one_weight_has_the_period_of_theory(rate, period):
    found = hovering_weight(rate, 0, 20_000)
    assert (found["period"], found["bounded"]) == (period, 1.0)


@pytest.mark.parametrize("rate", [0.9, 1.05, 1.2])
def test_one_weight_hovers_at_the_level_of_theory(rate):
    found = hovering_weight(rate, 1, 20_000)
    assert found["level"] == pytest.approx(stabilised_loss(rate), abs=1e-12)
    assert found["off"] == pytest.approx(0, abs=1e-9)


def test_beyond_the_second_threshold_there_is_a_level_but_no_closed_form():
    found = hovering_weight(1.6, 0, 100)
    assert found["level"] > 0
    assert found["off"] is None


def test_one_weight_beyond_the_last_threshold_says_that_it_left():
    found = hovering_weight(2.05, 0, 20_000)
    assert [found[name] for name in ("bounded", "level", "off", "period")] == [0.0, None, None, None]
