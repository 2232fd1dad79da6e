from lowland.experiments.image_text import sites
from lowland.report.claim import judge_all
from lowland.studies.sam_lowers_rank_in_image_text import CLAIMS, Config, cells

CONFIG = Config(seeds=4, rhos=(0.0, 0.1, 0.2, 0.4))
FACTS = {"train_error": 2.0, "classes": 128, "recipe": "own", "final": True, "diverged": False}


def invented(rank, error, density=lambda rho: 0.2):
    """Rows of the whole grid."""
    return [
        {
            **cell,
            **{f"rank/{name}": rank(cell["rho"]) + 0.1 * cell["seed"] for name in sites(CONFIG)},
            "density/GELU": density(cell["rho"]) * (1 + 0.01 * cell["seed"] * cell["rho"]),
            **dict.fromkeys(("image_error", "text_error"), error(cell["rho"]) + cell["rho"] * cell["seed"] / 100),
            **FACTS,
        }
        for cell in cells(CONFIG)
    ]


def as_published(**changes):
    return invented(
        **{"rank": lambda rho: 90 - 50 * rho, "error": lambda rho: 25 + 100 * (rho - 0.15) ** 2} | changes
    )


def verdicts(rows):
    return {verdict.claim.id: verdict.outcome for verdict in judge_all(CLAIMS, rows)}


def test_all_claims_hold_where_the_paper_is_right():
    assert set(verdicts(as_published()).values()) == {"holds"}


def test_all_claims_fail_where_everything_goes_the_other_way():
    found = verdicts(invented(lambda rho: 90 + 50 * rho, lambda rho: 25 + rho, lambda rho: 0.2 + rho))
    assert found == dict.fromkeys(found, "fails")


def test_retrieval_that_only_gets_worse_fails_its_claim_alone():
    found = verdicts(as_published(error=lambda rho: 25 + 10 * rho))
    assert [claim for claim, outcome in found.items() if outcome == "fails"] == ["retrieval_error_is_u_shaped"]


def test_a_density_that_falls_by_a_third_is_not_flat():
    assert verdicts(as_published(density=lambda rho: 0.2 - 0.16 * rho))["gelu_density_is_flat"] == "fails"


def test_a_radius_at_which_pairs_are_not_learnt_carries_no_verdict():
    rows = as_published(rank=lambda rho: 90 - 50 * rho if rho < 0.4 else 200)
    learnt = [row | {"train_error": 90.0 if row["rho"] == 0.4 else 2.0} for row in rows]
    assert verdicts(rows)["rank_of_the_heads_falls"] != "holds"
    assert verdicts(learnt)["rank_of_the_heads_falls"] == "holds"


def test_a_diverged_run_leaves_every_claim_open():
    rows = as_published()
    assert set(verdicts([rows[0] | {"diverged": True}, *rows[1:]]).values()) == {"inconclusive"}
