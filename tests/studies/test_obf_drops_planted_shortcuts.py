import random

import pytest
import torch

from lowland.report.claim import judge_all
from lowland.runs.context import Context
from lowland.studies.obf_drops_planted_shortcuts import (
    CLAIMS,
    TINY,
    Config,
    as_sure,
    best,
    cells,
    less_entropy,
    run,
    trained_with,
)

CONFIG = Config(seeds=4)

AS_PROPOSED = {"obf_0": (20.0, 5.0), "obf_1": (20.0, 5.0)}
"""Errors with misleading patches and without, of the methods that are not as SGD."""


def invented(errors, noise=0.1, sgd=(40.0, 5.0), obf_sure=0.87):
    """Rows of the whole grid; the confidence of 0.9 falls with the strength of output regularisers alone."""
    chance, found = random.Random(0), []
    for cell in cells(CONFIG):
        conflict, clean = (error + chance.gauss(0, noise) for error in errors.get(cell["method"], sgd))
        regularised = cell["method"] in ("label_smoothing", "confidence_penalty")
        row = {"conflict_error": conflict, "clean_error": clean, "rise": conflict - clean, "diverged": False}
        sure = obf_sure if cell["method"] in AS_PROPOSED else 0.9 - 0.5 * cell["strength"] * regularised
        found.append({**cell, **row, "confidence": sure})
    return found


def verdicts(rows):
    return {verdict.claim.id: verdict.outcome for verdict in judge_all(CLAIMS, rows)}


def test_all_claims_hold_where_obf_alone_drops_the_shortcut():
    assert set(verdicts(invented(AS_PROPOSED)).values()) == {"holds"}


def test_all_claims_fail_where_obf_goes_by_it_more_and_there_is_little_of_it():
    found = verdicts(invented(dict.fromkeys(AS_PROPOSED, (30.0, 9.0)), sgd=(9.0, 5.0)))
    assert found == dict.fromkeys(found, "fails")


def test_comparisons_are_not_decided_where_nothing_matters():
    found = verdicts(invented({}, noise=2.0))
    assert {name for name, outcome in found.items() if outcome == "holds"} <= {
        "the_shortcut_is_taken",
        "obf_does_no_harm_without_patches",
    }


def test_a_claim_must_hold_at_both_gammas():
    found = verdicts(invented(AS_PROPOSED | {"obf_1": (50.0, 5.0)}))
    assert {outcome for name, outcome in found.items() if "drops" in name} == {"fails"}


def test_a_shortcut_dropped_with_all_else_is_harm():
    assert (
        verdicts(invented(dict.fromkeys(AS_PROPOSED, (20.0, 20.0))))["obf_does_no_harm_without_patches"] == "fails"
    )


def test_a_diverged_run_raises_a_doubt_where_it_counts():
    lost = {"method": "label_smoothing", "strength": 0.2, "seed": 0}
    rows = [row | {"diverged": lost.items() <= row.items()} for row in invented(AS_PROPOSED)]
    found = verdicts(rows)
    assert found["obf_drops_it_more_at_equal_confidence"] == "inconclusive"
    assert found["obf_drops_it_more_than_sgd"] == "holds"


@pytest.mark.parametrize("sure", [0.95, 0.9, 0.3])
def test_where_no_strength_is_as_sure_nothing_is_decided_at_equal_confidence(sure):
    found = {verdict.claim.id: verdict for verdict in judge_all(CLAIMS, invented(AS_PROPOSED, obf_sure=sure))}
    equal = found["obf_drops_it_more_at_equal_confidence"]
    assert equal.outcome == "inconclusive"
    assert "On 4 of 4 seeds label smoothing is at no strength above 0 as sure as OBF, gamma 1." in equal.reasons
    assert found["obf_drops_it_more_than_output_regularisers"].outcome == "holds"


def test_every_arm_is_taken_at_the_strength_that_is_best_elsewhere():
    rows = [row | {"conflict_error": 9.0 - 10 * row["strength"]} for row in invented({})]
    assert {row["strength"] for row in best(rows) if row["method"] == "sam"} == {max(CONFIG.rhos)}


@pytest.mark.parametrize(("sure", "error"), [(0.95, 40.0), (0.85, 30.0), (0.75, 20.0), (0.1, 15.0)])
def test_a_regulariser_is_taken_where_it_is_as_sure_from_sgd_on(sure, error):
    strengths, errors = (0.0, 0.1, 0.2, 0.3), (40.0, 30.0, 25.0, 15.0)
    sureness = (0.9, 0.85, 0.8, 0.7)
    rows = [
        {"method": "penalty" if at else "sgd", "strength": at, "seed": 0, "conflict_error": e, "confidence": c}
        | {"diverged": False}
        for at, e, c in zip(strengths, errors, sureness, strict=True)
    ]
    wanted = [{"seed": 0, "confidence": sure, "diverged": False}]
    assert as_sure(rows, wanted, "penalty")[0]["conflict_error"] == pytest.approx(error)


def test_the_entropy_of_the_outputs_is_taken_off_the_loss():
    outputs, labels = torch.zeros(3, 4, dtype=torch.float64), torch.tensor([0, 1, 2])
    assert less_entropy(0.25, outputs, labels).item() == pytest.approx(0.75 * torch.tensor(4.0).log().item())
    sure = torch.tensor([[50.0, 0.0]], dtype=torch.float64)
    assert less_entropy(1.0, sure, torch.tensor([0])).item() == pytest.approx(0.0, abs=1e-9)


def test_arms_are_matched_to_sams_length_and_regularisers_descend_plainly():
    methods = {name: trained_with(CONFIG, name, 0.1)[0].method for name in CONFIG.strengths}
    assert methods["asam"] == "asam:rho=1"
    assert methods["obf_1"] == "obf:gamma=1,method=sam:rho=0.1"
    assert methods["sgd"] == methods["label_smoothing"] == methods["confidence_penalty"] == "sgd"
    assert trained_with(CONFIG, "label_smoothing", 0.1)[0].label_smoothing == 0.1


def test_a_penalised_run_can_be_trained_and_is_less_sure(tmp_path):
    def sureness(method, strength):
        cell = {"method": method, "strength": strength, "seed": 0}
        return run(TINY, cell, Context("cpu", tmp_path / method, lambda share: None))[0]["confidence"]

    assert sureness("confidence_penalty", 3.0) < sureness("sgd", 0.0)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"agreement": 1.0}, r"agreement must be in \(0, 1\), got 1.0"),
        ({"kind": "hue"}, "kind must be one of place, shade, got 'hue'"),
        ({"augment": True}, "augment must be False, got True: crops and flips would move the patches"),
        ({"rhos": (0.0,)}, r"rhos must ascend from above 0 and be at least one, got \(0.0,\)"),
        ({"smoothings": (0.2, 0.1)}, "smoothings must ascend from above 0"),
        ({"smoothings": (0.2, 1.1)}, r"smoothings must be at most 1, got \(0.2, 1.1\)"),
        ({"penalties": ()}, "penalties must ascend from above 0 and be at least one"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Config(**wrong)
