import random

import pytest

from lowland.experiments.beginning import begin
from lowland.models._activations.augmented_relu import AugmentedReLU
from lowland.report.claim import judge_all
from lowland.studies.gradient_penalty_needs_the_activation import (
    ARMS,
    CLAIMS,
    PLAIN,
    TINY,
    Config,
    cells,
    with_activation,
)

AS_PUBLISHED = {"relu": 5.0, "beta_gelu": 3.0, "ablated": 5.0, "no_nme": 6.0}
"""Test errors at the largest rho; all others are 2."""


def invented(**errors):
    """Rows of the whole grid; errors at the smaller rho say the opposite and must not count."""
    errors, config = AS_PUBLISHED | errors, Config(seeds=4)
    chance, rows = random.Random(0), []
    for cell in cells(config):
        usual = errors.get(cell["method"], 2.0)
        error = (usual if cell["rho"] == config.rhos[-1] else 9 - usual) + chance.gauss(0, 0.05)
        facts = {"diverged": False, "final": True, "classes": 10, "train_error": 1.0, "train_loss": 0.1}
        rows.append({**cell, **facts, "test_error": error})
    return rows


def verdicts(rows):
    return [verdict.outcome for verdict in judge_all(CLAIMS, rows)]


def test_all_claims_hold_where_errors_are_as_published():
    assert verdicts(invented()) == ["holds"] * 6


@pytest.mark.parametrize(
    ("claim", "errors"),
    [
        (0, {"sam_relu": 5.0}),
        (1, {"gelu": 5.0}),
        (2, {"relu": 1.0}),
        (3, {"beta_gelu": 1.0}),
        (4, {"ablated": 1.0}),
        (4, {"no_nme": 1.0}),
        (5, {"bump": 8.0}),
    ],
)
def test_each_claim_fails_where_its_errors_are_otherwise(claim, errors):
    assert verdicts(invented(**errors))[claim] == "fails"


def test_where_networks_do_not_learn_the_next_smaller_rho_counts():
    lost = {"method": "sam_relu", "rho": 1.0}
    rows = [row | {"train_error": 80.0 if lost.items() <= row.items() else 1.0} for row in invented(sam_relu=90.0)]
    usual = [row | {"test_error": 2.0 + row["seed"] / 100} if row["rho"] == 0.3 else row for row in rows]
    (effect,) = judge_all(CLAIMS, usual)[0].effects
    assert (effect.outcome, effect.name) == ("holds", "error of SAM with ReLU less with GELU, at rho 0.3")
    assert "did not learn there in one of both ways: rho 1" in effect.note


def test_where_networks_learn_at_no_rho_nothing_is_judged():
    found = judge_all(CLAIMS, [row | {"train_error": 80.0} for row in invented()])
    assert {verdict.outcome for verdict in found} == {"inconclusive"}
    assert "At no rho did networks learn with SAM, ReLU and with SAM, GELU" in found[0].note


def test_a_run_that_diverged_leaves_a_doubt_where_it_counts():
    rows = [row | {"diverged": row["method"] == "relu" and row["seed"] == 0} for row in invented()]
    assert verdicts(rows) == ["holds", "holds", "inconclusive", "holds", "holds", "inconclusive"]


@pytest.mark.parametrize("model", ["conv", "conv:widths=(3,3)"])
def test_the_activation_joins_the_networks_arguments(model):
    config = with_activation(Config(model=model, train=60), ARMS["bump"][1])
    kinds = [type(module) for module in begin(config, 0, "cpu").model.modules()]
    assert AugmentedReLU in kinds


def test_every_way_is_run_at_every_rho_and_plain_training_once():
    found = [cell["method"] for cell in cells(TINY) if cell["seed"] == 0]
    assert found == [*PLAIN, *ARMS]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"rhos": ()}, "rhos must ascend from above 0 and be at least one, got"),
        ({"rhos": (0.3, 0.1)}, "rhos must ascend from above 0"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Config(**wrong)
