from lowland.commands.cost import cost

TIMINGS = [
    {"method": "sgd", "seed": 0, "seconds": 1.0},
    {"method": "sgd", "seed": 1, "seconds": 3.0, "measuring": 1.0},
    {"method": "sam", "seed": 0, "seconds": 4.0},
]
ROWS = [{"method": "sgd", "passes": 1.0}, {"method": "sam", "passes": 2.0}, {"method": "sam"}]


def test_seconds_and_passes_are_means_per_method():
    table = cost(TIMINGS, ROWS, ["method", "seed"])
    assert table.columns == ("runs of", "runs", "measuring (s per run)", "passes per step")
    assert table.rows == (("sgd", 2, 0.5, 1.0), ("sam", 1, 0.0, 2.0))
    assert "took 8 s" in table.caption


def test_a_grid_without_methods_is_one_line():
    table = cost([{"seed": 0, "seconds": 1.0}], [{"seed": 0}], ["seed"])
    assert table.rows == (("all", 1, 1.0),)


def test_nothing_timed_is_no_table():
    assert cost([], [], []) is None
