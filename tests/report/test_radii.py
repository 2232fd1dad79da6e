import pytest

from lowland.report.grid import IncompleteError
from lowland.report.radii import best_less, guessing, left_out

BEST = (0.1, 0.1, 0.1, 0.2)
"""Of each seed."""


def rows(broken=(), radii=(0.0, 0.1, 0.2, 0.4)):
    return [
        {
            "rho": rho,
            "seed": seed,
            "test_error": abs(rho - best),
            "rank": 100 * rho + seed,
            "diverged": (rho, seed) in broken,
        }
        for rho in radii
        for seed, best in enumerate(BEST)
    ]


def test_the_best_radius_is_chosen_by_the_other_seeds_and_compared_seed_by_seed():
    found = best_less(rows(), "rank", 0.4)
    assert (found.value, found.half_width) == (pytest.approx(10 - 40), pytest.approx(0))


def test_a_run_that_diverged_takes_its_seed_out_and_leaves_a_doubt():
    found = best_less(rows(broken=[(0.4, 2)]), "rank", 0.0)
    assert found.seeds == 3
    assert found.doubt == "1 of 16 runs missing or diverged (rho 0.4, seed 2 diverged)."


def test_without_a_radius_between_there_is_none_to_choose():
    with pytest.raises(IncompleteError, match="A U-shape needs rho 0 and at least 2 larger values"):
        best_less(rows(radii=(0.0, 0.1)), "rank", 0.0)


def test_networks_guess_where_their_mean_error_is_above_half_of_that_of_guessing():
    shared = {"classes": 10, "diverged": False}
    errors = {0.0: (0.0, 20.0), 0.1: (40.0, 49.0), 0.2: (44.0, 48.0)}
    last = [{**shared, "rho": rho, "train_error": error} for rho, both in errors.items() for error in both]
    assert guessing(last) == [0.2]
    assert guessing([{**row, "diverged": row["train_error"] == 48} for row in last]) == []


def test_nothing_is_said_where_no_radius_is_left_out():
    assert left_out([]) == ""
