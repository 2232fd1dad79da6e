import math
import random

import pytest
import torch

from lowland.report.claim import judge_all
from lowland.studies.which_optimisers_find_the_support import (
    BASES,
    CLAIMS,
    LINEAR,
    Config,
    cells,
    chosen,
    looked,
)

CONFIG = Config(seeds=4)
AS_PUBLISHED = {"SGD": 0.3, "momentum": 0.3, "Adam": 0.6, "AdamW": 0.4, "Muon": 1.3, "SAM": 0.2}


def harm(name, factor):
    """A training loss that only the largest learning rate of the grid raises."""
    return 2.0 if factor == 8 else 1.0


def invented(sizes, loss=harm, diverged=lambda cell, seed: False, equal=0.9):
    """Rows of the whole grid; ``sizes`` are reached at the third learning rate, SAM does a little at all."""
    chance, found = random.Random(0), []
    for cell in cells(CONFIG):
        name = cell["optimiser"]
        factor = cell["learning_rate"] / BASES[cell["task"]][name]
        for seed in range(CONFIG.seeds):
            elsewhere = equal if name == "SAM" else 1.0
            size = (sizes[name] if round(factor) == 4 else elsewhere) * (1 + chance.gauss(0, 0.01))
            facts = {"final": True, "step": CONFIG.steps, "diverged": diverged(cell, seed)}
            more = {"loss": loss(name, round(factor)), "irrelevant": size, "log": math.log(size)}
            found.append({**cell, **facts, "seed": seed, **more})
    return found


def verdicts(rows):
    return {verdict.claim.id: verdict.outcome for verdict in judge_all(CLAIMS, rows)}


def test_all_claims_hold_where_all_is_as_published_and_sam_helps():
    assert set(verdicts(invented(AS_PUBLISHED)).values()) == {"holds"}


def test_all_claims_fail_where_all_is_the_other_way_round():
    found = verdicts(invented({name: 1 / (3 * size) for name, size in AS_PUBLISHED.items()}, equal=1.1))
    assert set(found.values()) == {"fails"}


def test_an_optimiser_is_compared_at_the_largest_rate_that_fits_as_well():
    rows = invented(
        AS_PUBLISHED,
        loss=lambda name, factor: {1: 1.0, 2: 1.05, 4: 1.2 if name == "SGD" else 1.1, 8: 1.2}[factor],
    )
    assert chosen(rows, LINEAR) == pytest.approx(
        {n: b * (2 if n == "SGD" else 4) for n, b in BASES[LINEAR].items()}
    )
    assert verdicts(rows)["sgd_finds_the_support"] == "fails"


def test_a_rate_at_which_a_run_diverges_is_not_chosen():
    rows = invented(AS_PUBLISHED, diverged=lambda cell, seed: cell["learning_rate"] == 0.08 and seed == 1)
    assert chosen(rows, LINEAR)["SAM"] == 0.04


def test_the_last_rate_of_a_grid_leaves_a_doubt_on_the_claims_about_its_optimiser():
    rows = invented(AS_PUBLISHED, loss=lambda name, factor: 1.0 if name == "Adam" else harm(name, factor))
    rows = [{**row, "irrelevant": 0.6, "log": math.log(0.6)} if at_last(row, "Adam") else row for row in rows]
    found = {verdict.claim.id: verdict for verdict in judge_all(CLAIMS, rows)}
    open_ones = {name for name, verdict in found.items() if verdict.outcome != "holds"}
    assert open_ones == {"adam_keeps_more_than_sgd", "decay_helps_adam"}
    assert {found[name].outcome for name in open_ones} == {"inconclusive"}
    last = 8 * BASES[LINEAR]["Adam"]
    assert f"{LINEAR}: no learning rate of the grid was too large for Adam ({last:g})." in (
        found["decay_helps_adam"].reasons
    )


def at_last(row, name):
    return row["optimiser"] == name and row["learning_rate"] == 8 * BASES[row["task"]][name]


def test_a_run_that_diverges_at_the_last_rate_brackets_as_harm_does():
    rows = invented(
        AS_PUBLISHED,
        loss=lambda name, factor: 1.0,
        diverged=lambda c, seed: at_last(c, c["optimiser"]) and seed == 1,
    )
    assert set(verdicts(rows).values()) == {"holds"}


def test_sam_is_compared_at_every_rate_that_it_and_sgd_survive():
    rows = invented(
        AS_PUBLISHED, diverged=lambda c, seed: at_last(c, "SAM") and seed == 1, loss=lambda name, factor: 1.0
    )
    (found,) = [v for v in judge_all(CLAIMS, rows) if v.claim.id == "sam_finds_more_than_sgd_at_equal_rates"]
    assert [effect.name for effect in found.effects] == [
        f"{task}, both at {BASES[task]['SGD'] * factor:g}: ln irrelevant norm, SGD less SAM"
        for task in BASES
        for factor in (1, 2, 4)
    ]
    assert found.outcome == "holds"


def test_one_rate_at_which_sam_leaves_more_makes_the_claim_of_all_rates_fail():
    rows = invented(AS_PUBLISHED)
    worse = [{**r, "log": r["log"] + 1} if at_last(r, "SAM") and r["task"] == LINEAR else r for r in rows]
    found = verdicts(worse)
    assert found["sam_finds_more_than_sgd_at_equal_rates"] == "fails"
    assert found["sam_finds_more_than_sgd"] == "holds"


def test_an_optimiser_that_always_diverges_leaves_claims_open():
    rows = invented(AS_PUBLISHED, diverged=lambda cell, seed: cell["optimiser"] == "Muon")
    notes = {v.claim.id: v.note for v in judge_all(CLAIMS, rows)}
    assert notes.pop("sam_finds_more_than_sgd_at_equal_rates") == ""
    assert set(notes.values()) == {"Muon diverged at every learning rate."}


def test_without_a_rate_that_both_survive_sam_and_sgd_are_not_compared():
    rows = invented(AS_PUBLISHED, diverged=lambda cell, seed: cell["optimiser"] == "SAM")
    notes = {v.claim.id: v.note for v in judge_all(CLAIMS, rows)}
    assert notes["sam_finds_more_than_sgd_at_equal_rates"] == (
        f"{LINEAR}: there is no learning rate that SGD and SAM survive."
    )


def test_a_network_that_diverged_is_said():
    model = torch.nn.Linear(3, 2)
    assert looked(model, model, math.nan, (True, False, False)) == {"diverged": True}
    assert not looked(model, model, 1.0, (True, False, False))["diverged"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"examples": 15}, "examples must be at least 16, got 15"),
        ({"rho": 0.0}, "rho must be above 0, got 0: SAM would be SGD"),
        ({"factors": (4.0, 2.0)}, r"factors must ascend from above 0 and be at least one, got \(4.0, 2.0\)"),
        ({"noise": -1.0}, "noise must be a finite number >= 0, got -1.0"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Config(**wrong)
