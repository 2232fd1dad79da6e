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


def invented(sizes, loss=lambda name, factor: 1.0, diverged=lambda cell, seed: False):
    """Rows of the whole grid; ``sizes`` are reached at the largest learning rate, elsewhere nothing happens."""
    chance, found = random.Random(0), []
    for cell in cells(CONFIG):
        name, factor = cell["optimiser"], cell["learning_rate"] / BASES[cell["optimiser"]]
        for seed in range(CONFIG.seeds):
            size = (sizes[name] if round(factor) == 4 else 1.0) * (1 + chance.gauss(0, 0.01))
            facts = {"final": True, "step": CONFIG.steps, "diverged": diverged(cell, seed)}
            more = {"loss": loss(name, round(factor)), "irrelevant": size, "log": math.log(size)}
            found.append({**cell, **facts, "seed": seed, **more})
    return found


def verdicts(rows):
    return {verdict.claim.id: verdict.outcome for verdict in judge_all(CLAIMS, rows)}


def test_all_claims_hold_where_all_is_as_published_and_sam_helps():
    assert set(verdicts(invented(AS_PUBLISHED)).values()) == {"holds"}


def test_all_claims_fail_where_all_is_the_other_way_round():
    found = verdicts(invented({name: 1 / (3 * size) for name, size in AS_PUBLISHED.items()}))
    assert set(found.values()) == {"fails"}


def test_an_optimiser_is_compared_at_the_largest_rate_that_fits_as_well():
    rows = invented(
        AS_PUBLISHED, loss=lambda name, factor: {1: 1.0, 2: 1.05, 4: 1.2 if name == "SGD" else 1.1}[factor]
    )
    assert chosen(rows, LINEAR) == pytest.approx({n: b * (2 if n == "SGD" else 4) for n, b in BASES.items()})
    assert verdicts(rows)["sgd_finds_the_support"] == "fails"


def test_a_rate_at_which_a_run_diverges_is_not_chosen():
    rows = invented(AS_PUBLISHED, diverged=lambda cell, seed: cell["learning_rate"] == 0.08 and seed == 1)
    assert chosen(rows, LINEAR)["SAM"] == 0.04


def test_an_optimiser_that_always_diverges_leaves_claims_open():
    rows = invented(AS_PUBLISHED, diverged=lambda cell, seed: cell["optimiser"] == "Muon")
    (note,) = {verdict.note for verdict in judge_all(CLAIMS, rows)}
    assert note == "Muon diverged at every learning rate."


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
        ({"factors": (2.0, 4.0)}, r"factors must ascend from 1 and be at least one, got \(2.0, 4.0\)"),
        ({"noise": -1.0}, "noise must be a finite number >= 0, got -1.0"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Config(**wrong)
