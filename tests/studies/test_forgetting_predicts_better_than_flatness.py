import random

import pytest

from lowland.report.claim import judge_all
from lowland.runs.context import Context
from lowland.studies.forgetting_predicts_better_than_flatness import (
    CLAIMS,
    TINY,
    Config,
    all_arms,
    cells,
    correlations,
    kendall,
    of_one_rho,
    run,
)

CONFIG = Config(seeds=5)


def invented(error):
    """Rows of the whole grid: what is forgotten is drawn for every arm, flatness and ``error`` follow from it."""
    chance, found = random.Random(0), []
    arms = {tuple(cell[name] for name in ("method", "m", "rho")): chance.random() for cell in cells(CONFIG)}
    for cell in cells(CONFIG):
        forgotten = arms[cell["method"], cell["m"], cell["rho"]] + chance.gauss(0, 0.01)
        flat = chance.random()
        score = error(forgotten, flat, cell["rho"]) + chance.gauss(0, 0.001)
        own = {"forgetting/own": forgotten, "forgetting_given_label/own": 2 * forgotten, "lambda_max": -flat}
        found.append({**cell, "diverged": False, "test_error": score, **own})
    return found


def verdicts(rows):
    return {verdict.claim.id: verdict.outcome for verdict in judge_all(CLAIMS, rows)}


def test_claims_about_forgetting_hold_where_it_alone_decides():
    found = verdicts(invented(lambda forgotten, flat, rho: -forgotten))
    assert found.pop("flatness_goes_with_accuracy") != "holds"
    assert found == dict.fromkeys(found, "holds")


def test_they_fail_where_flatness_decides():
    found = verdicts(invented(lambda forgotten, flat, rho: forgotten / 2 - flat))
    assert found.pop("flatness_goes_with_accuracy") == "holds"
    assert found.pop("forgetting_predicts_better_than_rho") != "holds"
    assert found == dict.fromkeys(found, "fails")


def test_what_rho_alone_decides_is_not_forgettings():
    found = verdicts(invented(lambda forgotten, flat, rho: -100 * rho))
    assert found["forgetting_predicts_better_than_rho"] == "fails"


def test_a_diverged_run_leaves_every_claim_open():
    lost = {"method": "sam", "rho": 0.1, "seed": 0, "m": 16}
    rows = [row | {"diverged": lost.items() <= row.items()} for row in invented(lambda f, *rest: -f)]
    assert set(verdicts(rows).values()) == {"inconclusive"}


def test_a_missing_run_leaves_every_claim_open():
    assert set(verdicts(invented(lambda f, *rest: -f)[:-1]).values()) == {"inconclusive"}


@pytest.mark.parametrize(("groups", "tau"), [(all_arms, -1.0), (of_one_rho, 0.0)])
def test_rho_says_nothing_among_arms_of_one_rho(groups, tau):
    rows = [row | {"test_error": row["rho"]} for row in invented(lambda *rest: 0.0)]
    found = [row["tau"] for row in correlations(rows, groups) if row["method"] == "rho"]
    assert found == pytest.approx([tau] * 5)


def test_kendall_counts_pairs_in_order_less_pairs_out_of_order():
    assert kendall([1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx((5 - 1) / 6)
    assert kendall([1, 2, 3], [5, 5, 5]) == 0.0


def test_sgd_forgets_nothing_and_only_the_end_is_measured_for_flatness(tmp_path):
    config = Config(**{**vars(TINY), "epochs": 2, "looks": 2})
    cell = {"method": "sgd", "m": 64, "rho": 0.0, "seed": 0}
    first, last = run(config, cell, Context("cpu", tmp_path, lambda share: None))
    assert first["forgetting/own"] == last["forgetting_given_label/own"] == 0.0
    assert "lambda_max" not in first
    assert last["lambda_max"] > 0


def test_every_kind_of_arm_is_in_the_grid():
    kinds = {(cell["method"], cell["m"]) for cell in cells(CONFIG)}
    cut = {(name, m) for name in ("sam", "obf_0", "obf_1") for m in (64, 16)}
    assert kinds == {("sgd", 64), ("random", 64), *cut}
    assert len(cells(CONFIG)) == 5 * (1 + 3 * 7)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"images": 0}, "images must be at least 1, got 0"),
        ({"parts": (16, 16)}, r"parts must be different and below the batch, 64, got \(16, 16\)"),
        ({"parts": (64,)}, "parts must be different and below the batch, 64"),
        ({"parts": (0,)}, "parts must be at least 1, got 0"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Config(**wrong)
