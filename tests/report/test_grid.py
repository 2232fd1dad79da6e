import math

import pytest

from lowland.report.grid import Grid, IncompleteError


def rows(*gone, broken=(), seeds=4):
    return [
        {"rho": rho, "seed": seed, "error": rho + seed, "diverged": (rho, seed) in broken, "layer": "a"}
        for seed in range(seeds)
        for rho in (0.2, 0.0, 0.1)
        if (rho, seed) not in gone
    ]


def test_gathers_seeds_by_points_in_order():
    grid = Grid.of(rows(), "error")
    assert (grid.points, grid.seeds, grid.doubt) == ((0.0, 0.1, 0.2), (0, 1, 2, 3), "")
    assert grid.column(0.1) == (0.1, 1.1, 2.1, 3.1)


def test_the_outcome_may_be_a_function():
    assert Grid.of(rows(), lambda row: -row["error"]).column(0.0) == (0.0, -1.0, -2.0, -3.0)


def test_a_diverged_run_takes_its_seed_out_and_leaves_a_doubt():
    grid = Grid.of(rows(broken=[(0.2, 1)]), "error")
    assert grid.seeds == (0, 2, 3)
    assert grid.doubt == "1 of 12 runs missing or diverged (rho 0.2, seed 1 diverged)."


def test_a_missing_run_is_named():
    assert "rho 0, seed 3 is missing" in Grid.of(rows((0.0, 3)), "error").doubt


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_an_outcome_that_is_no_number_counts_as_diverged(value):
    changed = [{**row, "error": value} if row["seed"] == 2 else row for row in rows()]
    assert Grid.of(changed, "error").seeds == (0, 1, 3)


def test_no_rows_are_incomplete():
    with pytest.raises(IncompleteError, match=r"There are no rows with rho and seed to look at"):
        Grid.of([], "error")


def test_no_whole_seed_is_incomplete():
    broken = [(0.1, seed) for seed in range(4)]
    with pytest.raises(IncompleteError, match=r"4 of 12 runs missing or diverged .*; and 1 more"):
        Grid.of(rows(broken=broken), "error")


def test_refuses_two_rows_for_one_run():
    doubled = [*rows(), {"rho": 0.1, "seed": 0, "error": 9.0, "layer": "b"}]
    with pytest.raises(ValueError, match=r"got two for rho=0.1, seed 0. Narrow them with where="):
        Grid.of(doubled, "error")
    assert Grid.of(doubled, "error", where={"layer": "a"}).column(0.1)[0] == 0.1


def test_refuses_a_setting_outside_the_grid():
    with pytest.raises(LookupError, match=r"rho must be one of 0, 0.1, 0.2, got 0.3"):
        Grid.of(rows(), "error").column(0.3)


def test_a_size_of_every_seed_has_the_doubt_of_the_grid():
    grid = Grid.of(rows(broken=[(0.2, 1)]), "error")
    found = grid.interval(lambda row: row[-1] - row[0])
    assert (found.value, found.seeds, found.doubt) == (pytest.approx(0.2), 3, grid.doubt)
    assert "diverged" in found.doubt


def test_a_contrast_is_paired_by_seed_and_has_the_doubt_of_the_grid():
    grid = Grid.of(rows(broken=[(0.2, 1)]), lambda row: row["rho"] ** 2 + row["seed"])
    found = grid.contrast({0.2: 1, 0.1: -1})
    assert (found.value, found.half_width) == (pytest.approx(0.03), pytest.approx(0))
    assert found.doubt == grid.doubt
    assert grid.contrast({0.1: 1}).value == pytest.approx(0.01 + (0 + 2 + 3) / 3)


def test_a_contrast_refuses_a_setting_outside_the_grid():
    with pytest.raises(LookupError, match=r"rho must be one of 0, 0.1, 0.2, got 0.3"):
        Grid.of(rows(), "error").contrast({0.3: 1})


def test_two_grids_are_compared_over_the_seeds_of_both_with_the_doubts_of_both():
    one, other = Grid.of(rows(broken=[(0.2, 1)]), "error"), Grid.of(rows((0.0, 3)), lambda row: row["seed"] ** 2)
    found = one.beside(other, lambda mine, its: mine[0] - its[0])
    assert (found.value, found.seeds) == ((0 - 2) / 2, 2)
    assert found.doubt == f"{one.doubt} {other.doubt}"


def test_two_grids_of_the_same_doubt_say_it_once():
    grid = Grid.of(rows(broken=[(0.2, 1)]), "error")
    assert grid.beside(grid, lambda mine, its: mine[0] - its[0]).doubt == grid.doubt


def test_two_grids_without_a_seed_in_common_are_incomplete():
    one, other = (Grid.of([row for row in rows() if row["seed"] in kept], "error") for kept in ((0, 1), (2, 3)))
    with pytest.raises(IncompleteError, match="There is no seed with all rho of both"):
        one.beside(other, lambda mine, its: mine[0] - its[0])
