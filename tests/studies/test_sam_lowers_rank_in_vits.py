import pytest

from lowland.models.vit import ViT
from lowland.report.claim import judge_all
from lowland.studies.sam_lowers_rank_in_vits import CLAIMS, INSIDE, Config, cells, check, of, sites

CONFIG = Config(seeds=4, rhos=(0.0, 0.1, 0.2, 0.4))
FACTS = {"train_error": 2.0, "classes": 10, "recipe": "own", "final": True, "diverged": False}


def invented(rank, error, density=lambda rho: 0.2):
    """Rows of the whole grid, two blocks."""
    return [
        {
            **cell,
            **{f"rank/{part} {at}": rank(cell["rho"]) + 0.1 * cell["seed"] for part in INSIDE for at in (1, 2)},
            **{
                f"density/GELU {at}": density(cell["rho"]) * (1 + 0.01 * cell["seed"] * cell["rho"])
                for at in (1, 2)
            },
            "test_error": error(cell["rho"]) + cell["rho"] * cell["seed"] / 100,
            **FACTS,
        }
        for cell in cells(CONFIG)
    ]


def u(rho):
    return 5 + 100 * (rho - 0.15) ** 2


def verdicts(rows):
    return {verdict.claim.id: verdict.outcome for verdict in judge_all(CLAIMS, rows)}


def test_all_claims_hold_where_the_paper_is_right():
    assert set(verdicts(invented(lambda rho: 90 - 50 * rho, u)).values()) == {"holds"}


def test_all_claims_fail_where_everything_goes_the_other_way():
    found = verdicts(invented(lambda rho: 90 + 50 * rho, lambda rho: 5 + rho, lambda rho: 0.2 + rho))
    assert found == dict.fromkeys(found, "fails")


def test_a_rank_that_rises_before_it_falls_is_not_lower_where_sam_generalises_best():
    found = verdicts(invented(lambda rho: {0.0: 80, 0.1: 90, 0.2: 85, 0.4: 30}[rho], u))
    assert found["rank_is_lower_at_the_best_rho"] == "fails"


def test_one_block_whose_rank_rises_fails_the_claim_about_its_part_alone():
    rows = [
        row | {"rank/MLP 2": 90 + 50 * row["rho"] + row["seed"]} for row in invented(lambda rho: 90 - 50 * rho, u)
    ]
    found = verdicts(rows)
    assert [claim for claim, outcome in found.items() if outcome == "fails"] == ["rank_of_mlp_falls"]


def test_a_diverged_run_leaves_every_claim_open():
    rows = invented(lambda rho: 90 - 50 * rho, u)
    assert set(verdicts([rows[0] | {"diverged": True}, *rows[1:]]).values()) == {"inconclusive"}


def test_every_part_of_every_block_is_looked_at():
    vit = ViT((1, 8, 8), 10, depth=2, width=8, heads=2, patch=4)
    assert set(sites(vit)) <= {name for name, _ in vit.named_modules()}
    assert sites(vit)["blocks.1.contract"] == "MLP 2"
    assert of(invented(u, u), "GELU") == ["GELU 1", "GELU 2"]


def test_it_is_trained_by_adamw_with_a_warm_up():
    recipe = CONFIG.recipe("sam:rho=0.1")
    assert (recipe.optimizer, recipe.warmup, recipe.method) == ("adamw", 0.1, "sam:rho=0.1")


def test_other_networks_are_refused_by_words():
    with pytest.raises(ValueError, match="model must be a vision transformer, such as vit:depth=3, got 'mlp'"):
        check(Config(model="mlp", train=60))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"examples": 0}, "examples must be at least 1, got 0"),
        ({"rhos": (0.0, 0.1)}, r"rhos must ascend from 0 and be at least three, got \(0.0, 0.1\)"),
        ({"rhos": (0.0, -0.1, 0.2)}, "rhos must be a finite number >= 0, got -0.1"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Config(**wrong)
