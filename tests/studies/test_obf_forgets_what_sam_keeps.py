import random

import pytest

from lowland.experiments.perturbed import PERTURBATIONS
from lowland.report.claim import judge_all
from lowland.runs.context import Context
from lowland.studies.obf_forgets_what_sam_keeps import CLAIMS, QUANTITIES, TINY, Config, cells, own, run

CONFIG = Config(seeds=4, rhos=(0.1, 0.2))

AS_CLAIMED = {
    "sam": (0.02, -0.01, 0.02, 0.01),
    "obf_0": (0.02, 0.01, -0.01, 0.001),
    "obf_1": (0.02, 0.01, -0.01, 0.001),
    "random": (0.0, 0.0, 0.0, 1e-5),
}
"""The four quantities under each perturbation."""


def invented(sizes, noise=0.01):
    """Rows of the whole grid; every network is the same but for some noise."""
    chance, found = random.Random(0), []
    for cell in cells(CONFIG):
        row = {**cell, "epoch": 1, "diverged": False}
        for name, values in sizes.items():
            for quantity, value in zip(QUANTITIES, values, strict=True):
                row[f"{quantity}/{name}"] = value * (1 + chance.gauss(0, noise)) + 1e-4 * chance.gauss(0, noise)
        found.append(row)
    return found


def verdicts(rows):
    return {verdict.claim.id: verdict.outcome for verdict in judge_all(CLAIMS, rows)}


def test_all_claims_hold_where_obf_forgets_what_sam_keeps():
    assert set(verdicts(invented(AS_CLAIMED)).values()) == {"holds"}


def test_all_claims_fail_where_the_signs_are_the_others():
    swapped = {
        "sam": (-0.02, 0.01, -0.01, 0.001),
        "obf_0": (-0.02, -0.01, 0.02, 0.001),
        "obf_1": (-0.03, -0.01, 0.02, 0.001),
        "random": (0.02, 0.0, 0.0, 1e-5),
    }
    found = verdicts(invented(swapped))
    assert found.pop("obf_forgets_more_for_the_same_change") != "holds"
    assert found == dict.fromkeys(found, "fails")


def test_claims_are_inconclusive_where_the_signs_change_from_seed_to_seed():
    def turned(row):
        signs = {name: 1 if name.startswith("divergence") else (-1) ** row["seed"] for name in row if "/" in name}
        return {**row, **{name: sign * row[name] for name, sign in signs.items()}}

    found = verdicts([turned(row) for row in invented(AS_CLAIMED)])
    assert found.pop("a_random_step_forgets_nothing") == "holds"
    assert found == dict.fromkeys(found, "inconclusive")


def test_forgetting_more_by_moving_further_is_not_more_for_the_same_change():
    further = AS_CLAIMED | dict.fromkeys(("obf_0", "obf_1"), (0.04, 0.01, -0.01, 0.04))
    assert verdicts(invented(further))["obf_forgets_more_for_the_same_change"] == "fails"


def test_a_claim_must_hold_at_both_gammas():
    found = verdicts(invented(AS_CLAIMED | {"obf_1": (0.02, -0.02, 0.01, 0.001)}))
    assert found["obf_removes_what_is_beyond_the_label"] == "fails"
    assert found["obf_lowers_the_test_loss"] == "fails"
    assert found["chosen_perturbations_forget"] == "holds"


def test_a_diverged_run_raises_a_doubt_where_it_counts():
    lost = {"method": "obf_1", "rho": 0.1, "seed": 0}
    rows = [row | {"diverged": lost.items() <= row.items()} for row in invented(AS_CLAIMED)]
    found = verdicts(rows)
    assert found["obf_removes_what_is_beyond_the_label"] == "inconclusive"
    assert found["sam_keeps_what_is_beyond_the_label"] == "holds"


def test_its_own_perturbation_is_the_one_it_was_trained_with():
    rows = invented(AS_CLAIMED, noise=0)
    assert {(row["method"], row["divergence"]) for row in own(rows)} == {
        (name, sizes[3]) for name, sizes in AS_CLAIMED.items()
    }


def test_a_real_network_moves_under_every_perturbation_and_least_at_random(tmp_path):
    cell = {"method": "sam", "rho": 0.1, "seed": 0}
    (row,) = run(TINY, cell, Context("cpu", tmp_path, lambda share: None))
    moved = {name: row[f"divergence/{name}"] for name in PERTURBATIONS}
    assert 0 < moved["random"] == min(moved.values())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"images": 0}, "images must be at least 1, got 0"),
        ({"held_out": 0}, "held_out must be at least 1, got 0"),
        ({"rhos": ()}, "rhos must ascend from above 0 and be at least one"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Config(**wrong)
