import random

import pytest

from lowland.report.claim import judge_all
from lowland.studies.sam_lowers_curvature import CLAIMS, LABELS, Config, at_equal_loss, cells, spec

CONFIG = Config(seeds=4, rhos=(0.1, 0.2, 0.4))
SGD_LOSSES = (1.0, 0.1, 0.01, 0.001)


def invented(curvature, noise=0.01, loss=lambda method, rho: 0.01 if rho else 0.001):
    """Rows of the whole grid; ``curvature`` is given method, rho and training loss."""
    chance, found = random.Random(0), []
    for cell in cells(CONFIG):
        method, rho = cell["method"], cell["rho"]
        for at in SGD_LOSSES if method == "sgd" else [loss(method, rho)]:
            size = curvature(method, rho, at) * (1 + chance.gauss(0, noise))
            facts = {"train_loss": at, "train_error": 0.0, "test_error": 3.0, "classes": 10, "diverged": False}
            last = method != "sgd" or at == SGD_LOSSES[-1]
            found.append({**cell, **facts, "final": last, **dict.fromkeys(LABELS, size)})
    return found


def as_published(method, rho, loss):
    """SAM lowers curvature, however large the loss is, and chance does nothing."""
    return 10 / (1 + 5 * rho) if method == "sam" else 10.0


def verdicts(rows):
    return {verdict.claim.id: verdict.outcome for verdict in judge_all(CLAIMS, rows)}


def test_all_claims_hold_where_sam_lowers_curvature():
    assert set(verdicts(invented(as_published)).values()) == {"holds"}


def test_all_claims_fail_where_sam_raises_it():
    found = verdicts(invented(lambda method, rho, loss: 10 + 5 * rho if method == "sam" else 10.0, noise=1e-3))
    assert found == dict.fromkeys(found, "fails")


def test_claims_are_inconclusive_where_nothing_matters():
    found = verdicts(invented(lambda method, rho, loss: 10.0, noise=0.1))
    assert found == dict.fromkeys(found, "inconclusive")


def test_curvature_that_is_lower_for_the_loss_alone_is_not_lower_at_equal_loss():
    found = verdicts(invented(lambda method, rho, loss: loss ** (-0.1), noise=0.01))
    assert found["lower_at_equal_training_loss"] != "holds"


def test_curvature_that_is_higher_for_the_loss_alone_can_be_lower_at_equal_loss():
    found = verdicts(invented(lambda method, rho, loss: loss * (1 - 0.5 * (method == "sam")) * (1 + rho)))
    assert found["largest_eigenvalue_falls_with_rho"] == "fails"
    assert found["lower_at_equal_training_loss"] == "holds"


def test_what_chance_does_as_well_is_not_sams():
    found = verdicts(invented(lambda method, rho, loss: 10 / (1 + 5 * rho)))
    assert found["largest_eigenvalue_falls_with_rho"] == "holds"
    assert found["lower_than_of_a_random_step_as_long"] != "holds"


def test_between_two_looks_curvature_follows_the_loss():
    rows = invented(lambda method, rho, loss: 3 * loss, noise=0, loss=lambda method, rho: 0.03)
    assert [pair["other"] for pair in at_equal_loss(rows, "hessian_trace")] == pytest.approx([0.09] * 12)


def test_there_is_no_percentage_of_a_trace_below_zero():
    rows = invented(lambda method, rho, loss: 1.0 if method == "sam" else -1.0)
    notes = {verdict.claim.id: verdict.note for verdict in judge_all(CLAIMS, rows)}
    assert "was not above 0 in every run" in notes["lower_at_equal_training_loss"]


def test_a_diverged_run_leaves_every_claim_about_sam_open():
    lost = {"method": "sam", "rho": 0.1, "seed": 0}
    rows = [row | {"diverged": lost.items() <= row.items()} for row in invented(as_published)]
    assert set(verdicts(rows).values()) == {"inconclusive"}


def test_an_unfinished_grid_is_compared_as_far_as_it_goes():
    rows = [row for row in invented(as_published) if row["method"] != "random_perturbation" or row["seed"] == 0]
    found = {verdict.claim.id: verdict for verdict in judge_all(CLAIMS, rows)}
    assert found["lower_than_of_a_random_step_as_long"].outcome == "inconclusive"
    none = [row for row in rows if row["method"] != "random_perturbation"]
    assert "has another of the same radius" in judge_all(CLAIMS, none)[-1].note


def test_a_radius_at_which_networks_do_not_learn_carries_no_verdict():
    rows = invented(lambda method, rho, loss: 99.0 if rho > 0.2 else as_published(method, rho, loss))
    guessing = [row | ({"train_error": 90.0} if row["rho"] > 0.2 else {}) for row in rows]
    found = judge_all(CLAIMS, guessing)
    assert found[0].outcome == "holds"
    assert "Left out, because networks did not learn there: rho 0.4." in found[0].reasons


def test_every_arm_is_trained_with_its_radius_and_sgd_with_none():
    specs = {spec(cell) for cell in cells(CONFIG)}
    assert specs >= {"sgd", "sam:rho=0.1", "random_perturbation:rho=0.4"}
    assert len(cells(CONFIG)) == 4 * 7


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"probes": 1}, "probes must be at least 2, got 1"),
        ({"rhos": (0.0, 0.1)}, "rhos must ascend from above 0"),
        ({"rhos": (0.2, 0.1)}, r"rhos must ascend from above 0 and be at least two, got \(0.2, 0.1\)"),
        ({"rhos": (0.1,)}, "rhos must ascend from above 0 and be at least two"),
        ({"radius": 0.0}, "radius must be above 0, got 0.0"),
        ({"relative": -1.0}, "relative must be a finite number >= 0, got -1.0"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Config(**wrong)
