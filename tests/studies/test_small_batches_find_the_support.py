import math
import random
from pathlib import Path

import pytest

from lowland.report.claim import judge_all
from lowland.runs.context import Context
from lowland.studies.small_batches_find_the_support import (
    CLAIMS,
    LAW,
    RELU,
    SILENT,
    STABLE,
    TINY,
    Config,
    cells,
    predicted,
    run,
    tasks,
)

CONFIG = Config(seeds=4, steps=4000, looks=20)
RATE = 1e-5


def rates(cell):
    """The rate at which a cell's norm falls if all is as published."""
    if cell["task"] in (SILENT, STABLE):
        return 0.0
    if cell["task"] == LAW and (cell["batch"] or cell["matched"]):
        return predicted(tasks(CONFIG)[LAW], cell)["rate"]
    return 1e-3 / cell["batch"] if cell["batch"] else 0.0


def invented(rate=rates, noise=1e-5, diverged=lambda cell, seed: False):
    """Rows of the whole grid in which the irrelevant norm falls exponentially from 4."""
    chance, found = random.Random(0), []
    for cell in cells(CONFIG):
        task = tasks(CONFIG)[cell["task"]]
        facts = {**cell, **predicted(task, cell), "loss": 1.0, "relevant": 3.0}
        for seed in range(CONFIG.seeds):
            fall = rate(cell) + chance.gauss(0, noise * RATE)
            for step in range(0, task.steps + 1, task.steps // CONFIG.looks):
                norm = 4 * math.exp(-fall * step) * (1 + chance.gauss(0, noise))
                last = {"final": step == task.steps, "diverged": diverged(cell, seed)}
                found.append({**facts, **last, "seed": seed, "step": step, "irrelevant": norm})
    return found


def verdicts(rows):
    return {verdict.claim.id: verdict.outcome for verdict in judge_all(CLAIMS, rows)}


def test_all_claims_hold_where_norms_fall_as_predicted():
    assert set(verdicts(invented()).values()) == {"holds"}


def test_another_rate_fails():
    found = verdicts(invented(lambda cell: rates(cell) * (1.5 if cell["batch"] == 8 else 1)))
    assert found["decays_at_the_predicted_rate"] == "fails"
    assert found["penalty_gives_the_same_curve"] == "fails"


def test_a_penalty_that_does_more_than_the_batches_fails_alone():
    found = verdicts(invented(lambda cell: rates(cell) * (1.5 if cell["matched"] == 4 else 1)))
    assert [name for name, outcome in found.items() if outcome != "holds"] == ["penalty_gives_the_same_curve"]


def test_gradient_descent_that_forgets_fails():
    found = verdicts(invented(lambda cell: 1e-4 if not cell["batch"] and not cell["matched"] else rates(cell)))
    assert found["gradient_descent_keeps_them"] == "fails"


def test_larger_batches_that_end_lower_fail():
    found = verdicts(invented(lambda cell: 1e-4 * cell["batch"] if "deep" in cell["task"] else rates(cell)))
    assert found["smaller_batches_end_lower"] == "fails"
    assert found["smaller_batches_end_lower_as_published"] == "fails"
    assert found["nothing_happens_without_residuals"] == "fails"


def test_relu_that_keeps_them_fails():
    found = verdicts(invented(lambda cell: 1e-3 * cell["batch"] if cell["task"] == RELU else rates(cell)))
    assert found["relu_forgets_them_too"] == "fails"


def test_a_diverged_run_raises_a_doubt_where_it_counts():
    found = verdicts(
        invented(diverged=lambda cell, seed: cell["task"] == LAW and cell["batch"] == 8 and seed == 0)
    )
    assert found["decays_at_the_predicted_rate"] == "inconclusive"
    assert found["smaller_batches_end_lower"] == "holds"


def test_an_unfinished_grid_says_what_is_missing():
    rows = [row for row in invented() if row["task"] != RELU]
    notes = {verdict.claim.id: verdict.note for verdict in judge_all(CLAIMS, rows)}
    assert notes["relu_forgets_them_too"] == "two layers, ReLU was not run."


def test_an_unfinished_task_says_what_is_missing():
    rows = [row for row in invented() if row["task"] != LAW or row["batch"] or row["matched"]]
    notes = {verdict.claim.id: verdict.note for verdict in judge_all(CLAIMS, rows)}
    assert notes["gradient_descent_keeps_them"] == "GD was not run."


def test_a_network_that_diverges_says_so_and_the_others_go_on():
    config = Config(**{**vars(TINY), "learning_rate": 0.2, "batches": (8, 16)})
    rows = run(config, {"task": LAW, "batch": 8, "matched": 0}, Context("cpu", Path(), lambda share: None))
    assert any(row["diverged"] for row in rows)
    assert len(rows) == config.seeds * (config.looks + 1)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"looks": 4}, "looks must be at least 5, got 4"),
        ({"steps": 100}, "steps must be at least 160, got 100"),
        ({"relevant": 15}, "relevant must be below inputs, 15, got 15"),
        ({"examples": 15}, "examples must be at least 16, got 15"),
        ({"batches": (8, 4)}, r"batches must ascend from above 0 and be at least two, got \(8, 4\)"),
        ({"deep_batches": (8,)}, "deep_batches must ascend from above 0 and be at least two"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0, got 0"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Config(**wrong)
