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

COLLAPSED = {"train_error": 80.0, "test_error": 90.0}


def invented(**errors):
    """Rows of the whole grid; errors at the smaller rho say the opposite and must not count."""
    errors, config = AS_PUBLISHED | errors, Config(seeds=4)
    chance, rows = random.Random(0), []
    for cell in cells(config):
        usual = errors.get(cell["method"], 2.0)
        counts = cell["rho"] == config.rhos[-1] or cell["method"] in PLAIN
        error = (usual if counts else 9 - usual) + chance.gauss(0, 0.05)
        facts = {"diverged": False, "final": True, "classes": 10, "train_error": 1.0, "train_loss": 0.1}
        rows.append({**cell, **facts, "test_error": error})
    return rows


def verdicts(rows):
    return [verdict.outcome for verdict in judge_all(CLAIMS, rows)]


def test_all_claims_hold_where_errors_are_as_published():
    assert verdicts(invented()) == ["holds"] * 7


@pytest.mark.parametrize(
    ("claim", "errors"),
    [
        (0, {"sam_relu": 5.0}),
        (1, {"gelu": 5.0}),
        (2, {"plain_relu": 6.0}),
        (3, {"relu": 1.0}),
        (4, {"beta_gelu": 1.0}),
        (5, {"ablated": 1.0}),
        (5, {"no_nme": 1.0}),
        (6, {"bump": 8.0}),
    ],
)
def test_each_claim_fails_where_its_errors_are_otherwise(claim, errors):
    assert verdicts(invented(**errors))[claim] == "fails"


def collapsed(*methods):
    """The invented rows, but ways that guess at rho 1, and do not differ at 0.3."""
    level = [row | {"test_error": 2.0 + row["seed"] / 100} if row["rho"] == 0.3 else row for row in invented()]
    return [row | COLLAPSED if row["rho"] == 1 and row["method"] in methods else row for row in level]


def test_where_networks_learn_in_neither_way_the_next_smaller_rho_counts():
    (effect,) = judge_all(CLAIMS, collapsed("sam_relu", "sam_gelu"))[0].effects
    assert (effect.outcome, effect.name) == ("holds", "error of SAM with ReLU less with GELU, at rho 0.3")
    assert effect.note == "Left out, because networks did not learn there: rho 1."


def test_that_sam_collapses_with_relu_alone_counts():
    (effect,) = judge_all(CLAIMS, collapsed("sam_relu"))[0].effects
    assert (effect.outcome, effect.name) == ("fails", "error of SAM with ReLU less with GELU, at rho 1")
    assert effect.note.startswith("Networks with SAM, ReLU did not learn at rho 1.")


def test_that_the_penalty_collapses_with_relu_counts():
    assert verdicts(collapsed("relu")) == ["holds"] * 7


def test_the_penalty_is_not_held_against_plain_training_that_did_not_learn():
    found = judge_all(CLAIMS, [row | COLLAPSED if row["method"] == "plain_relu" else row for row in invented()])
    assert found[2].outcome == "inconclusive"
    assert "networks did not learn with plain SGD" in found[2].note


def test_where_networks_learn_at_no_rho_nothing_is_judged():
    found = judge_all(CLAIMS, [row | {"train_error": 80.0} for row in invented()])
    assert {verdict.outcome for verdict in found} == {"inconclusive"}
    assert "At no rho did networks learn with SAM, ReLU or with SAM, GELU" in found[0].note


def test_a_run_that_diverged_leaves_a_doubt_where_it_counts():
    rows = [row | {"diverged": row["method"] == "relu" and row["seed"] == 0} for row in invented()]
    assert verdicts(rows) == ["holds", "holds", "inconclusive", "inconclusive", "holds", "holds", "inconclusive"]


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
