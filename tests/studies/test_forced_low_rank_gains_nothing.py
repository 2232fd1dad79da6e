import pytest

from lowland.report.claim import judge_all
from lowland.studies.forced_low_rank_gains_nothing import CLAIMS, Config, at_equal_rank, cells, check, settings

CONFIG = Config(seeds=4, rhos=(0.1, 0.2), bottlenecks=(4, 8), projections=(32, 64))
RANKS = {"sgd": 100, "sam": 80, "bottleneck": 8}
ERRORS = {"sgd": 5.0, "sam": 4.0, "bottleneck": 6.0, "projection": 5.0}


def invented(errors=ERRORS, ranks=RANKS):
    """Rows of the whole grid; the rank of a projection is its width."""
    return [
        {
            **cell,
            "rank": ranks.get(cell["kind"], cell["width"]) + 0.1 * cell["seed"],
            "test_error": errors[cell["kind"]] + 0.01 * cell["seed"] * (1 + cell["rho"]) + cell["rho"],
            "diverged": False,
        }
        for cell in cells(CONFIG)
    ]


def verdicts(rows):
    return {verdict.claim.id: verdict.outcome for verdict in judge_all(CLAIMS, rows)}


def test_all_claims_hold_where_the_paper_is_right():
    assert set(verdicts(invented()).values()) == {"holds"}


def test_all_claims_fail_where_low_rank_is_the_reason():
    errors = {"sgd": 5.0, "sam": 5.5, "bottleneck": 3.0, "projection": 3.0}
    found = verdicts(invented(errors, {"sgd": 20, "sam": 25, "bottleneck": 30}))
    assert found == dict.fromkeys(found, "fails")


def test_a_bottleneck_that_gains_more_than_half_of_what_sam_does_fails_the_claim():
    found = verdicts(invented(ERRORS | {"bottleneck": 4.3}))
    assert found["bottlenecks_gain_nothing"] == "fails"
    assert verdicts(invented(ERRORS | {"bottleneck": 4.7}))["bottlenecks_gain_nothing"] == "holds"


def test_at_equal_rank_errors_lie_between_the_two_projections_around_it():
    rows = invented(ERRORS | {"projection": 9.0})
    first = at_equal_rank([row for row in rows if row["rho"] != 0.2 and row["seed"] == 0])[0]
    assert first["forced"] == pytest.approx(9 - 4 * (80 - 64) / (100 - 64))


def test_a_rank_that_no_projection_reaches_is_met_by_the_nearest():
    rows = [row for row in invented(ERRORS | {"projection": 9.0}, RANKS | {"sam": 3}) if row["rho"] != 0.2]
    assert at_equal_rank(rows)[0]["forced"] == pytest.approx(9.0)


def test_a_diverged_run_leaves_every_claim_about_it_open():
    rows = [row | {"diverged": row["kind"] == "sgd" and row["seed"] == 0} for row in invented()]
    assert set(verdicts(rows).values()) == {"inconclusive"}


def test_the_bottleneck_is_set_around_any_network_with_its_arguments():
    config = Config(model="mlp:widths=(32,),activation=tanh")
    assert "rank=4,trained=True" in settings(config, {"kind": "bottleneck", "width": 4}).model
    check(Config(model="mlp:widths=(32,),activation=tanh", bottlenecks=(4,), projections=(8,), train=60))


def test_a_network_whose_head_reads_something_else_is_refused_by_words():
    vit = "vit:depth=1,width=8,heads=2"
    with pytest.raises(ValueError, match="model must have a head that reads its last layer, got 'vit:depth=1"):
        check(Config(model=vit, bottlenecks=(4,), projections=(8,), train=60))


def test_a_projection_wider_than_the_features_is_refused_by_words():
    with pytest.raises(ValueError, match="rank must be at most 32, the width of the features, got 64"):
        check(Config(model="mlp:widths=(32,)", bottlenecks=(4,), projections=(64,), train=60))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"rhos": (0.0, 0.1)}, r"rhos must ascend from above 0 and be at least one, got \(0.0, 0.1\)"),
        ({"rhos": (-0.1,)}, "rhos must be a finite number >= 0, got -0.1"),
        ({"bottlenecks": (8, 4)}, r"bottlenecks must ascend from above 0 and be at least one, got \(8, 4\)"),
        ({"projections": ()}, r"projections must ascend from above 0 and be at least one, got \(\)"),
        ({"projections": (0,)}, "projections must be at least 1, got 0"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Config(**wrong)
