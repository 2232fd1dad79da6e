import random
from math import log2

import pytest

from lowland.report.claim import judge_all
from lowland.runs.context import Context
from lowland.studies.who_perturbs_matters import CLAIMS, TINY, Config, cells, run, spec

CONFIG = Config(seeds=4, rhos=(0.1, 0.2))


def invented(error, noise=0.01):
    """Rows of the whole grid; ``error`` is given method, m and rho; what seeds share cancels."""
    chance, found = random.Random(0), []
    for cell in cells(CONFIG):
        value = error(cell["method"], cell["m"], cell["rho"])
        score = {"test_error": value + cell["seed"] + chance.gauss(0, noise), "train_error": 0.0}
        found.append({**cell, "diverged": False, **score})
    return found


def as_published(method, m, rho):
    """Smaller m is better, batch norm adds nothing, other data and chance gain nothing."""
    return 12 + log2(m) / 4 if method == "sam" else 14.0


def verdicts(rows):
    return {verdict.claim.id: verdict.outcome for verdict in judge_all(CLAIMS, rows)}


def test_all_claims_hold_where_the_papers_are_right():
    assert set(verdicts(invented(as_published)).values()) == {"holds"}


def test_claims_fail_where_large_m_and_other_data_are_best():
    errors = {"sgd": 14.0, "stale_sam": 10.0, "random_perturbation": 10.0}
    found = verdicts(invented(lambda method, m, rho: errors.get(method, 13 - log2(m) / 4)))
    assert found == dict.fromkeys(found, "fails")


def test_claims_are_inconclusive_where_nothing_matters():
    found = verdicts(invented(lambda method, m, rho: 14.0, noise=1.0))
    assert found == dict.fromkeys(found, "inconclusive")


def test_what_batch_norm_gains_from_small_parts_is_not_the_ascents():
    found = verdicts(invented(lambda method, m, rho: 12 + log2(m) / 4))
    assert found["smaller_m_is_better"] == "holds"
    assert found["smaller_m_is_better_beyond_batch_norm"] != "holds"


def test_a_claim_must_hold_at_every_radius():
    found = verdicts(
        invented(lambda method, m, rho: as_published(method, m, rho) + 9 * (method == "sam") * (rho > 0.1))
    )
    assert found["own_data_beats_other_data"] == "fails"


def test_a_diverged_run_raises_a_doubt_where_it_counts():
    lost = {"method": "stale_sam", "rho": 0.1, "seed": 0}
    rows = [row | {"diverged": lost.items() <= row.items()} for row in invented(as_published)]
    found = verdicts(rows)
    assert found["own_data_beats_other_data"] == "inconclusive"
    assert found["smaller_m_is_better"] == "holds"


def test_the_rise_is_in_points_per_doubling_of_m():
    (claim,) = [claim for claim in CLAIMS if claim.id == "smaller_m_is_better"]
    assert [effect.value for effect in claim.check(invented(as_published, noise=0))] == pytest.approx([0.25, 0.25])


def test_the_whole_batch_is_plain_sam_and_sgd_on_parts_has_no_radius():
    specs = {spec(cell, CONFIG.batch) for cell in cells(CONFIG)}
    assert {"sgd", "sam:rho=0.1", "msam:m=16,rho=0.1", "msam:m=16,rho=0", "stale_sam:rho=0.2"} <= specs


def test_the_control_trains_as_plain_sgd_does_where_batch_norm_is_left_out(tmp_path):
    def row(m):
        config = Config(**{**vars(TINY), "model": "conv:widths=(4,4),batch_norm=False"})
        cell = {"method": "sgd", "m": m, "rho": 0.0, "seed": 0}
        return run(config, cell, Context("cpu", tmp_path / str(m), lambda share: None))[0]

    assert row(8)["loss"] == pytest.approx(row(32)["loss"], rel=1e-4)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"rhos": (0.2, 0.1)}, r"rhos must ascend from above 0 and be at least one, got \(0.2"),
        ({"rhos": (0.0, 0.1)}, "rhos must ascend from above 0"),
        ({"parts": (128, 64)}, r"parts must descend from below the batch, 128, .* got \(128, 64\)"),
        ({"parts": ()}, "parts must descend from below the batch"),
        ({"parts": (0,)}, "parts must be at least 1, got 0"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Config(**wrong)
