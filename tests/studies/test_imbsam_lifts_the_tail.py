import random

import pytest

from lowland.experiments.training import load_images
from lowland.report.claim import judge_all
from lowland.runs.context import Context
from lowland.studies.imbsam_lifts_the_tail import CLAIMS, SPECS, TINY, Config, check, groups, run, spec, tables


def invented(noise=0.02, **errors):
    """Rows of four seeds: of every method its errors on many, medium and few; others are as SGD."""
    chance, found = random.Random(0), []
    for method in SPECS:
        many, medium, few = errors.get(method, errors["sgd"])
        scores = {"many_error": many, "medium_error": medium, "few_error": few, "test_error": (many + few) / 2}
        for seed in range(4):  # what they share cancels
            row = {"method": method, "spec": method, "seed": seed, "diverged": False}
            found.append({**row, **{name: y + seed + chance.gauss(0, noise) for name, y in scores.items()}})
    return found


def verdicts(rows):
    return {verdict.claim.id: verdict.outcome for verdict in judge_all(CLAIMS, rows)}


GAIN = {"sgd": (10, 30, 70), "sgd_doubled": (10, 30, 66), "sam": (9, 28, 68)}


def test_all_claims_hold_where_the_paper_is_right():
    found = verdicts(invented(**GAIN, imb_sam=(9, 28, 60), imb_sam_doubled=(9, 28, 58)))
    assert set(found.values()) == {"holds"}


def test_claims_fail_where_imbsam_only_harms():
    found = verdicts(invented(**{**GAIN, "sam": (9, 28, 71)}, imb_sam=(12, 28, 75), imb_sam_doubled=(12, 28, 75)))
    assert found == dict.fromkeys(found, "fails")


def test_claims_are_inconclusive_in_noise():
    found = verdicts(invented(noise=3.0, sgd=(10, 30, 70)))
    assert found == dict.fromkeys(found, "inconclusive")


def test_a_lift_that_doubling_alone_gives_is_not_the_perturbations():
    rows = invented(**{**GAIN, "sgd_doubled": (9, 28, 57)}, imb_sam=(9, 28, 60), imb_sam_doubled=(9, 28, 58))
    found = verdicts(rows)
    assert (found["imb_sam_doubled_lifts_the_few"], found["it_is_the_perturbation"]) == ("holds", "fails")


def test_a_lift_has_its_price_on_the_many():
    found = verdicts(invented(**GAIN, imb_sam=(11, 28, 50), imb_sam_doubled=(9, 28, 50)))
    assert (found["imb_sam_spares_the_many"], found["imb_sam_doubled_spares_the_many"]) == ("fails", "holds")


def test_a_diverged_run_forbids_a_verdict():
    rows = invented(**GAIN, imb_sam=(9, 28, 60), imb_sam_doubled=(9, 28, 58))
    rows = [row | {"diverged": (row["method"], row["seed"]) == ("sam", 0)} for row in rows]
    found = verdicts(rows)
    assert found["imb_sam_lifts_the_few"] == "inconclusive"
    assert found["it_is_the_perturbation"] == "holds"


def test_a_tail_of_a_hundred_has_four_three_and_three_classes():
    config = Config()
    data = load_images(config.data, config.train)
    assert data.train.y.bincount().tolist() == [119, 71, 43, 25, 15, 9, 5, 3, 2, 1]
    assert groups(config, data) == {"many": (0, 1, 2, 3), "medium": (4, 5, 6), "few": (7, 8, 9)}
    assert spec(config, "imb_sam_doubled", data) == "imb_sam:rho=0.1,tail=(7, 8, 9),tail_weight=2"


def test_a_row_has_the_error_of_every_class_and_group(tmp_path):
    (row,) = run(TINY, {"method": "imb_sam", "seed": 0}, Context("cpu", tmp_path, lambda share: None))
    assert len(row["class_errors"]) == len(row["class_sizes"]) == 10
    assert row["few_error"] == pytest.approx(sum(row["class_errors"][7:]) / 3)
    assert row["cost"] == 3


def test_data_without_rare_classes_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"got 10 and 0 in digits\. Write digits:long_tail=100"):
        check(Config(data="digits"))


def test_the_table_leaves_out_what_diverged():
    rows = invented(**GAIN)
    lost = [row | {"diverged": row["method"] == "sam"} for row in rows]
    assert "sam" in tables(Config(), lost)[0].csv()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"rho": -0.1}, "rho must be a finite number >= 0, got -0.1"),
        ({"few": 0.5}, r"few must be at most many, 0\.2, got 0\.5"),
        ({"many": 1.5}, r"many must be in \[0, 1\], got 1\.5"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Config(**wrong)
