import math

import pytest

from lowland.report.decay import after_fit, falls, shares


def course(norms, rate=0.1, floor=0.0, **facts):
    shown = {"method": "sgd", "seed": 0, "rate": rate, "floor": floor, "diverged": False, **facts}
    return [{**shown, "step": step, "irrelevant": norm} for step, norm in enumerate(norms)]


def test_the_slope_of_an_exponential_is_its_rate():
    (row,) = falls(course([5 * math.exp(-0.3 * t) for t in range(20)]))
    assert row["over"] == pytest.approx(3)
    assert row["off"] == pytest.approx(2)


def test_what_happens_before_the_fit_does_not_count():
    exponential = [math.exp(-0.1 * t) for t in range(2, 21)]
    (row,) = falls(course([50.0, 40.0, *exponential]))
    assert row["over"] == pytest.approx(1)
    assert row["fall"] == pytest.approx(1.8)


def test_looks_near_the_floor_do_not_count():
    norms = [max(math.exp(-0.1 * t), 0.2) for t in range(40)]
    (row,) = falls(course(norms, floor=0.1))
    assert row["over"] == pytest.approx(1)
    assert row["end"] == pytest.approx(math.log(0.2))


@pytest.mark.parametrize("facts", [{"rate": None}, {"rate": 0.0}, {"floor": 1.0}])
def test_there_is_no_ratio_where_nothing_is_predicted_or_seen(facts):
    (row,) = falls(course([1.0, 0.9, 0.8, 0.7], **facts))
    assert row["over"] is None
    assert row["off"] is None


def test_runs_are_told_apart_and_a_diverged_one_says_so():
    rows = [*course([1.0] * 12), *course([1.0] * 12, seed=1), *course([1.0] * 3, method="adam")]
    rows[-1] = {**rows[-1], "diverged": True}
    found = falls(rows)
    assert [(row["method"], row["seed"], row["diverged"]) for row in found] == [
        ("sgd", 0, False),
        ("sgd", 1, False),
        ("adam", 0, True),
    ]


def test_the_fit_is_a_tenth_of_training():
    assert after_fit(course([1.0] * 21))[0]["step"] == 2


def test_shares_are_over_the_first_look_that_is_kept():
    rows = [*course([4.0, 2.0, 1.0]), *course([8.0, 4.0, 2.0], seed=1), *course([1.0] * 3, seed=2, diverged=True)]
    assert [row["share"] for row in shares(rows)] == [1, 0.5, 0.25, 1, 0.5, 0.25]
    late = shares(rows, lambda mine: mine[1:])
    assert [(row["seed"], row["step"], row["share"]) for row in late] == [
        (0, 1, 1),
        (0, 2, 0.5),
        (1, 1, 1),
        (1, 2, 0.5),
    ]
