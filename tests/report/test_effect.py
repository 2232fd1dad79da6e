import json
import math

import pytest

from lowland.report.effect import Effect
from lowland.report.interval import Interval


def effect(low, high, expected="above", **more):
    facts = {"name": "x", "value": (low + high) / 2, "seeds": 5, **more}
    return Effect(low=low, high=high, expected=expected, **facts)


@pytest.mark.parametrize(
    ("low", "high", "expected", "outcome"),
    [
        (0.1, 2.0, "above", "holds"),
        (-2.0, -0.1, "above", "fails"),
        (-0.1, 2.0, "above", "inconclusive"),
        (-2.0, -0.1, "below", "holds"),
        (0.1, 2.0, "below", "fails"),
        (-1.0, 0.1, "below", "inconclusive"),
        (0.0, 0.0, "above", "fails"),
        (0.0, 0.0, "below", "fails"),
        (0.0, 0.0, "within", "holds"),
    ],
)
def test_the_whole_interval_decides(low, high, expected, outcome):
    assert effect(low, high, expected).outcome == outcome


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [(-1.0, 1.0, "holds"), (2.5, 3.0, "fails"), (-3.0, -2.1, "fails"), (1.0, 3.0, "inconclusive")],
)
def test_within_means_between_minus_bound_and_bound(low, high, outcome):
    assert effect(low, high, "within", bound=2.0).outcome == outcome


@pytest.mark.parametrize("seeds", [0, 1, 2])
def test_fewer_than_three_seeds_give_no_verdict(seeds):
    found = effect(5.0, 6.0, seeds=seeds)
    assert found.outcome == "inconclusive"
    assert "a verdict needs at least 3" in found.reason


def test_a_doubt_forbids_a_verdict():
    found = effect(5.0, 6.0, doubt="1 of 9 runs diverged.")
    assert (found.outcome, found.reason) == ("inconclusive", "1 of 9 runs diverged.")


def test_an_interval_without_width_is_said():
    assert effect(1.0, 1.0).reason == "All 5 seeds gave this very value."


def test_a_value_that_is_no_number_gives_no_verdict():
    assert effect(math.nan, math.nan).outcome == "inconclusive"


def test_a_record_is_plain_json_without_infinities():
    record = Effect.of("x", Interval(value=1.0, low=-math.inf, high=math.inf, seeds=1), "above").record()
    assert json.loads(json.dumps(record, allow_nan=False))["low"] is None


def test_refuses_an_unknown_side():
    with pytest.raises(ValueError, match="expected must be one of above, below, within, got 'up'"):
        effect(0.0, 1.0, "up")


def test_refuses_a_negative_bound_for_within():
    with pytest.raises(ValueError, match="bound must be at least 0 for expected='within', got -1"):
        effect(0.0, 1.0, "within", bound=-1.0)
