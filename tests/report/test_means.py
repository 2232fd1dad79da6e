import math

from lowland.report.means import mean, means

ROWS = [
    {"method": method, "batch": batch, "seed": seed, "error": base + batch + seed, "diverged": False}
    for method, base in (("sam", 1), ("sgd", 2))
    for batch in (8, 4)
    for seed in range(3)
]


def test_the_mean_is_over_the_seeds_of_a_setting():
    found = mean(ROWS, "error", where={"method": "sam", "batch": 8})
    assert (found.value, found.seeds) == (10.0, 3)
    assert mean(ROWS, "error").seeds == 12


def test_runs_that_diverged_are_left_out():
    broken = [{**row, "diverged": row["seed"] == 1} for row in ROWS]
    assert mean(broken, "error", where={"method": "sam", "batch": 8}).seeds == 2
    assert mean([{"error": math.nan}, {"error": None}, {"error": 2}], "error").value == 2
    assert mean([{**row, "diverged": True} for row in ROWS], "error") is None
    assert mean(ROWS, "error", where={"method": "asam"}) is None


def test_a_table_has_a_line_for_every_setting_in_the_order_of_the_rows():
    table = means(
        ROWS, "Errors", by={"by": "method", "batch": "batch"}, of={"error (%)": "error"}, caption="Words."
    )
    assert (table.title, table.columns, table.caption) == ("Errors", ("by", "batch", "error (%)"), "Words.")
    assert [line[:2] for line in table.rows] == [("sam", 8), ("sam", 4), ("sgd", 8), ("sgd", 4)]
    assert [line[2].value for line in table.rows] == [10, 6, 11, 7]
