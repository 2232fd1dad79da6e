import math

import pytest

from lowland.report.arms import best_radii, contrast, gap
from lowland.report.grid import IncompleteError


def line(method, seed, error, rho=0.1):
    return {"method": method, "rho": rho, "seed": seed, "error": error, "diverged": error is None}


def rows(**errors):
    return [line(method, seed, error) for method, values in errors.items() for seed, error in enumerate(values)]


def test_a_contrast_is_paired_by_seed():
    found = contrast(rows(sgd=[9.0, 5.0, 7.0], sam=[8.0, 4.0, 6.0]), {"sgd": 1, "sam": -1}, "error")
    assert (found.value, found.low, found.high, found.seeds, found.doubt) == (1.0, 1.0, 1.0, 3, "")


def test_weights_may_be_any_numbers_over_any_number_of_methods():
    found = contrast(rows(a=[1.0], b=[2.0], c=[4.0]), {"a": 0.5, "b": -1, "c": 2}, "error")
    assert found.value == pytest.approx(6.5)


def test_a_diverged_or_missing_run_leaves_its_seed_out_and_raises_a_doubt():
    found = contrast(rows(sgd=[9.0, 5.0, 7.0], sam=[8.0, None]), {"sgd": 1, "sam": -1}, "error")
    assert (found.value, found.seeds) == (1.0, 1)
    assert found.doubt == "2 of 6 runs missing or diverged (sam, seed 1; sam, seed 2)."


def test_a_method_that_was_not_run_or_always_diverged_is_incomplete():
    with pytest.raises(IncompleteError, match="esam was not run"):
        contrast(rows(sgd=[1.0]), {"sgd": 1, "esam": -1}, "error")
    with pytest.raises(IncompleteError, match=r"2 of 4 runs missing or diverged \(sam, seed 0; sam, seed 1\)"):
        contrast(rows(sgd=[1.0, 2.0], sam=[None, None]), {"sgd": 1, "sam": -1}, "error")


def test_two_runs_of_one_seed_are_refused_by_words():
    with pytest.raises(ValueError, match="one row per method and seed, got 2 for sam"):
        contrast([line("sam", 0, 1.0, 0.1), line("sam", 0, 2.0, 0.2)], {"sam": 1}, "error")


def test_tables_get_no_gap_that_is_in_doubt():
    found = rows(sgd=[9.0, 5.0], sam=[8.0, 4.0], gam=[8.0, None])
    assert gap(found, "sam", "sgd", "error").value == -1.0
    assert gap(found, "sgd", "sgd", "error") is None
    assert gap(found, "gam", "sgd", "error") is None
    assert gap(found, "esam", "sgd", "error") is None


def grid(errors):
    """Errors by radius, each a list over the seeds."""
    return [line("sam", seed, error, rho) for rho, found in errors.items() for seed, error in enumerate(found)]


def test_a_seed_is_scored_where_the_others_are_best():
    chosen = best_radii(grid({0.1: [1.0, 5.0, 5.0], 0.2: [9.0, 4.0, 4.0]}), "error")
    assert {row["seed"]: row["rho"] for row in chosen} == {0: 0.2, 1: 0.1, 2: 0.1}


def test_a_radius_at_which_another_seed_diverged_is_not_chosen():
    chosen = best_radii(grid({0.1: [5.0, 5.0, 5.0], 0.2: [4.0, None, 1.0]}), "error")
    assert {row["seed"]: row["rho"] for row in chosen} == {0: 0.1, 1: 0.2, 2: 0.1}


def test_methods_choose_by_themselves_and_a_single_radius_stays():
    both = [*grid({0.1: [1.0, 1.0], 0.2: [2.0, 2.0]}), line("sgd", 0, 3.0, 0.0), line("sgd", 1, 3.0, 0.0)]
    chosen = best_radii(both, "error")
    assert [(row["method"], row["rho"]) for row in chosen] == [("sam", 0.1)] * 2 + [("sgd", 0.0)] * 2


def test_choosing_adds_no_gain_where_there_is_none():
    import random

    chance = random.Random(0)
    found = []
    for _ in range(400):
        errors = {rho: [chance.gauss(0, 1) for _ in range(5)] for rho in (0.1, 0.2, 0.4)}
        found += [row["error"] for row in best_radii(grid(errors), "error")]
    mean = math.fsum(found) / len(found)
    assert abs(mean) < 4 / math.sqrt(400)  # five seeds of a study share their choices
