import random

import pytest

from lowland.report.claim import judge_all
from lowland.runs.context import Context
from lowland.studies.sam_switches_units_off import ARMS, CLAIMS, CLOSED_FORM, RADII, TINY, Config, run


def invented(**changes):
    """Rows in which all claims hold, but for what is changed: a function of rho over the largest, by quantity."""
    chance, found = random.Random(0), []
    shapes = {
        "rank": lambda share: 19 - 15 * share,
        "active": lambda share: 80 - 70 * share,
        "distinct": lambda share: 75 - 70 * share,
        "norm": lambda share: 6 + 3 * share,
        "train_loss": lambda share: 1e-5,
        "test_loss": lambda share: 0.01 + 0.1 * (share - 0.5) ** 2,
    } | changes
    for name, arm in ARMS.items():
        for rho in arm.rhos:
            for seed in range(4):
                facts = {"arm": name, "rho": rho, "seed": seed, "step": 1, "final": True, "diverged": False}
                sizes = {k: f(rho / arm.rhos[-1]) * (1 + chance.gauss(0, 1e-3)) for k, f in shapes.items()}
                found.append({**facts, **sizes})
    return found + first_order(2.0)


def first_order(order):
    """Rows of a closed form whose error is of some order."""
    return [
        {
            "arm": CLOSED_FORM,
            "rho": rho,
            "seed": seed,
            "final": True,
            "diverged": False,
            "error": (1 + seed) * rho**order,
        }
        for rho in RADII
        for seed in range(4)
    ]


def verdicts(rows):
    return {verdict.claim.id: verdict.outcome for verdict in judge_all(CLAIMS, rows)}


def test_all_claims_hold_where_everything_is_as_published():
    assert set(verdicts(invented()).values()) == {"holds"}


@pytest.mark.parametrize(
    ("quantity", "claims"),
    [
        ("rank", ["rank_falls", "gradient_penalty_does_the_same"]),
        ("active", ["units_are_switched_off", "gradient_penalty_does_the_same"]),
        ("distinct", ["distinct_units_become_few", "gradient_penalty_does_the_same"]),
    ],
)
def test_a_quantity_that_rises_instead_fails_its_claims_alone(quantity, claims):
    found = verdicts(invented(**{quantity: lambda share: 5 + 10 * share}))
    assert {name for name, outcome in found.items() if outcome == "fails"} == set(claims)


def test_a_test_loss_that_falls_to_the_end_has_no_best_radius_in_the_middle():
    found = verdicts(invented(test_loss=lambda share: 0.1 - 0.09 * share))
    assert found["test_loss_is_lowest_in_the_middle"] == "fails"


def test_a_norm_that_falls_could_explain_the_rank():
    assert verdicts(invented(norm=lambda share: 6 - 3 * share))["the_norm_does_not_explain_it"] == "fails"


def test_an_error_of_first_order_is_no_second_order():
    rows = [row for row in invented() if row["arm"] != CLOSED_FORM]
    assert verdicts(rows + first_order(1.0))["the_closed_form_is_of_first_order"] == "fails"


def test_one_activation_that_differs_fails_the_claim():
    rows = [row | ({"rank": 19 - row["rank"]} if row["arm"] == "tanh" else {}) for row in invented()]
    assert verdicts(rows)["rank_falls"] == "fails"
    assert verdicts(rows)["gradient_penalty_does_the_same"] == "holds"


def test_a_diverged_run_leaves_a_doubt_where_it_counts():
    lost = {"arm": "relu", "rho": 0.4, "seed": 1}
    found = verdicts([row | {"diverged": row["diverged"] or lost.items() <= row.items()} for row in invented()])
    held = {name for name, outcome in found.items() if outcome == "holds"}
    assert held == {"gradient_penalty_does_the_same", "the_closed_form_is_of_first_order"}


def test_settings_that_were_left_out_leave_their_claims_undecided():
    rows = [row for row in invented() if row["arm"] in {"tanh", CLOSED_FORM}]
    found = verdicts(rows)
    assert found["rank_falls"] == "holds"
    assert found["gradient_penalty_does_the_same"] == found["the_norm_does_not_explain_it"] == "inconclusive"


def test_a_claim_says_which_settings_were_not_tried():
    rows = [row for row in invented() if row["arm"] == "penalty"]
    notes = {verdict.claim.id: verdict.note for verdict in judge_all(CLAIMS, rows)}
    assert notes["rank_falls"] == "Not tried: ReLU, absolute value, tanh."
    assert notes["the_norm_does_not_explain_it"] == "Not tried: ReLU."


def test_every_run_is_looked_at_early_where_sam_hands_over_and_at_its_end(tmp_path):
    rows = run(TINY, {"arm": "penalty"}, Context("cpu", tmp_path, lambda share: None))
    runs = TINY.seeds * len(ARMS["penalty"].rhos)
    assert [row["step"] for row in rows[::runs]] == [3, 7, 12]  # SAM hands over after 7
    assert [row["final"] for row in rows[::runs]] == [False, False, True]
    assert len(rows) == 3 * runs


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"examples": 1}, "examples must be at least 2, got 1"),
        ({"steps": 5}, "steps must be at least 10, got 5"),
        ({"arms": ("sine",)}, "arms must be one of relu, abs, tanh, penalty, got 'sine'"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Config(**wrong)
