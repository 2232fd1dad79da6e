import random
from math import log2

import pytest

from lowland.report.claim import judge_all
from lowland.runs.context import Context
from lowland.studies.obf_is_sharper_than_sam import CLAIMS, TINY, Config, at_equal_loss, cells, run

CONFIG = Config(seeds=4, rhos=(0.1, 0.2))
LOSSES = (1.0, 0.1, 0.01)

AS_PUBLISHED = {
    "sgd": (8.0, 5.0),
    "sam": (2.0, 4.0),
    "obf_0": (6.0, 3.0),
    "obf_1": (7.0, 3.0),
    "random": (8.0, 5.0),
}
"""Largest eigenvalue and test error of each method."""


def invented(sizes, noise=0.01, losses=lambda method: LOSSES):
    """Rows of the whole grid, at three looks; the eigenvalue does not depend on the loss."""
    chance, found = random.Random(0), []
    for cell in cells(CONFIG):
        largest, error = sizes[cell["method"]]
        for at, loss in enumerate(losses(cell["method"])):
            row = {**cell, "epoch": at + 1, "diverged": False, "final": at == 2, "train_loss": loss}
            row |= {"train_error": 0.0, "classes": 10}
            row |= {
                "lambda_max": largest * 2 ** chance.gauss(0, noise),
                "test_error": error + chance.gauss(0, noise),
            }
            found.append(row)
    return found


def verdicts(rows):
    return {verdict.claim.id: verdict.outcome for verdict in judge_all(CLAIMS, rows)}


def test_all_claims_hold_where_obf_is_sharper_and_better():
    assert set(verdicts(invented(AS_PUBLISHED)).values()) == {"holds"}


def test_all_claims_fail_where_obf_is_flatter_and_worse():
    other = {"sgd": (1.0, 2.0), "sam": (4.0, 4.0), "obf_0": (2.0, 5.0), "obf_1": (2.0, 5.0), "random": (1.0, 2.0)}
    found = verdicts(invented(other))
    assert found == dict.fromkeys(found, "fails")


def test_claims_are_inconclusive_where_nothing_matters():
    found = verdicts(invented(dict.fromkeys(AS_PUBLISHED, (4.0, 4.0)), noise=1.0))
    assert "holds" not in found.values()


def test_a_claim_must_hold_at_both_gammas():
    found = verdicts(invented(AS_PUBLISHED | {"obf_1": (1.0, 6.0)}))
    failing = {name for name, verdict in found.items() if verdict == "fails"}
    assert failing == {name for name in found if name.startswith("obf_")}


def test_curvature_that_is_higher_for_the_loss_alone_is_not_higher_at_equal_loss():
    rows = invented(AS_PUBLISHED, noise=0, losses=lambda m: (1.0, 0.4, 0.2) if "obf" in m else (1.0, 0.1, 0.01))
    by_loss = [row | {"lambda_max": 10 * row["train_loss"]} for row in rows]
    found = verdicts(by_loss)
    assert found["obf_is_sharper_than_sam"] == "holds"
    assert found["obf_is_sharper_at_equal_training_loss"] != "holds"


def test_the_run_with_the_lower_loss_is_taken_where_it_had_the_others():
    rows = invented(AS_PUBLISHED, noise=0, losses=lambda m: (1.0, 0.5, 0.3) if m == "sam" else (1.0, 0.4, 0.2))
    cubic = [row | {"lambda_max": row["train_loss"] ** 3} for row in rows]
    found = at_equal_loss([row for row in cubic if row["method"] in ("obf_0", "sam")])
    assert [row["doublings"] for row in found] == pytest.approx([3 * log2(0.3)] * len(found))


def test_a_diverged_run_raises_a_doubt_where_it_counts():
    lost = {"method": "obf_1", "rho": 0.1, "seed": 0}
    rows = [row | {"diverged": lost.items() <= row.items()} for row in invented(AS_PUBLISHED)]
    found = verdicts(rows)
    assert found["obf_is_sharper_than_sam"] == "inconclusive"
    assert found["obf_is_sharper_at_equal_training_loss"] == "inconclusive"
    assert found["sam_is_flatter_than_sgd"] == "holds"


def test_a_length_at_which_networks_do_not_learn_carries_no_verdict():
    lost = [
        row | ({"train_error": 80.0, "lambda_max": 0.1} if row["rho"] > 0.1 else {})
        for row in invented(AS_PUBLISHED)
    ]
    found = {verdict.claim.id: verdict for verdict in judge_all(CLAIMS, lost)}
    assert found["obf_is_sharper_than_sam"].outcome == "holds"
    words = "Left out, because networks did not learn there: rho 0.2."
    assert words in found["obf_is_sharper_than_sam"].reasons


def test_where_networks_learn_at_no_length_there_is_no_verdict():
    rows = [row | {"train_error": 80.0} for row in invented(AS_PUBLISHED)]
    assert "At no rho did networks learn" in judge_all(CLAIMS, rows)[1].note


def test_an_eigenvalue_that_is_not_above_zero_has_no_logarithm():
    rows = [row | {"lambda_max": 0.0} for row in invented(AS_PUBLISHED)]
    assert verdicts(rows)["obf_is_sharper_than_sam"] == "inconclusive"


def test_sgd_is_trained_without_a_perturbation(tmp_path):
    (row,) = [
        row
        for row in run(
            TINY, {"method": "sgd", "rho": 0.0, "seed": 0}, Context("cpu", tmp_path, lambda share: None)
        )
        if row["final"]
    ]
    assert row["passes"] == 1
    assert row["lambda_max"] > 0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"examples": 0}, "examples must be at least 1, got 0"),
        ({"rhos": (0.2, 0.1)}, "rhos must ascend from above 0 and be at least one"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Config(**wrong)
