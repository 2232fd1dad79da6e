import pytest

from lowland.experiments.image_text import sites
from lowland.report.claim import judge_all
from lowland.studies.low_rank_without_low_rank_weights import CLAIMS, Config, cells, change, relative

CONFIG = Config(seeds=4, rhos=(0.0, 0.1, 0.2))
FACTS = {"train_error": 2.0, "classes": 128, "recipe": "own", "final": True, "diverged": False}


def invented(features, weights):
    """Rows of the whole grid."""
    return [
        {
            **cell,
            **{f"rank/{name}": features(cell["rho"]) + 0.1 * cell["seed"] for name in sites(CONFIG)},
            "weight_rank": weights(cell["rho"]) + 0.1 * cell["seed"] * (1 + cell["rho"]),
            **FACTS,
        }
        for cell in cells(CONFIG)
    ]


def verdicts(rows):
    return {verdict.claim.id: verdict.outcome for verdict in judge_all(CLAIMS, rows)}


def test_all_claims_hold_where_the_paper_is_right():
    assert set(verdicts(invented(lambda rho: 90 - 100 * rho, lambda rho: 57.0)).values()) == {"holds"}


def test_all_claims_fail_where_weights_fall_and_features_rise():
    found = verdicts(invented(lambda rho: 90 + 100 * rho, lambda rho: 57 - 50 * rho))
    assert found == dict.fromkeys(found, "fails")


def test_features_that_fall_as_much_as_the_weights_do_not_fall_more():
    found = verdicts(invented(lambda rho: 57 - 100 * rho, lambda rho: 57 - 110 * rho))
    assert found["features_fall_in_rank"] == "holds"
    assert found["features_fall_more_than_weights"] == "fails"


def test_changes_are_in_percent_of_the_same_seed_without_sam():
    rows = invented(lambda rho: 100 - 100 * rho, lambda rho: 57)
    assert change(rows, "rank/image head")[0] == pytest.approx(
        [100 * (80 + s) / (100 + s) - 100 for s in (0, 0.1, 0.2, 0.3)]
    )
    assert relative(rows, "x", "rank/image head").values[0] == pytest.approx((100.0,) * 4)


def test_a_diverged_run_leaves_every_claim_open_and_is_drawn_as_such():
    rows = invented(lambda rho: 90 - 100 * rho, lambda rho: 57.0)
    rows[0] = rows[0] | {"diverged": True}
    assert set(verdicts(rows).values()) == {"inconclusive"}
    assert relative(rows, "x", "weight_rank").broken == (True, True, True)
