import pytest

from lowland.report.claim import judge_all
from lowland.report.radii import unlearnt
from lowland.studies.sam_lowers_feature_rank import CLAIMS, PAPER, Config, cells, figures, matched

RHOS = (0.0, 0.1, 0.2, 0.4)


def invented(rank, error, seeds=4, density=lambda rho: 0.5 - rho):
    """Rows of a grid whose last look has the given rank and error; SGD's loss falls from 1 to 0 over 4 looks."""
    rows = []
    for seed in range(seeds):
        wobble = 0.01 * seed
        for rho in RHOS:
            end = {
                "rank/a": rank(rho) + wobble, "density/a": density(rho), "train_loss": rho,
                "test_error": error(rho) + wobble, "knn_error/a": error(rho) + wobble,
                "train_error": 1.0, "classes": 10,
            }  # fmt: skip
            rows += [line(rho, seed, epoch, end) for epoch in ((1, 2, 3, 4) if rho == 0 else (4,))]
    return rows


def line(rho, seed, epoch, end):
    look = (
        {**end, "train_loss": 1 - epoch / 4, "rank/a": 100 - 5 * epoch + seed} if epoch < 4 and rho == 0 else end
    )
    return {
        "recipe": "own",
        "rho": rho,
        "seed": seed,
        "epoch": epoch,
        "final": epoch == 4,
        "diverged": False,
        **look,
    }


def verdicts(rows):
    return {verdict.claim.id: verdict.outcome for verdict in judge_all(CLAIMS, rows)}


def test_all_claims_hold_where_the_paper_is_right():
    rows = invented(rank=lambda rho: 80 - 100 * rho, error=lambda rho: (rho - 0.15) ** 2)
    assert set(verdicts(rows).values()) == {"holds"}


def test_claims_fail_where_rank_rises_and_sam_only_harms():
    found = verdicts(invented(lambda rho: 80 + 100 * rho, lambda rho: rho, density=lambda rho: 0.5 + rho))
    assert found == dict.fromkeys(found, "fails")


def test_claims_are_inconclusive_where_nothing_happens():
    found = verdicts(invented(lambda rho: 80, lambda rho: 0.1, density=lambda rho: 0.5))
    assert found["error_is_u_shaped"] != "holds"
    assert found["rank_falls_with_rho"] != "holds"


def test_a_diverged_run_forbids_every_verdict():
    rows = invented(rank=lambda rho: 80 - 100 * rho, error=lambda rho: (rho - 0.15) ** 2)
    measured = ("rank/a", "density/a", "test_error", "knn_error/a", "train_loss")
    rows[-1] = {key: value for key, value in rows[-1].items() if key not in measured} | {"diverged": True}
    assert set(verdicts(rows).values()) == {"inconclusive"}


def test_the_control_compares_at_equal_training_loss():
    rows = invented(rank=lambda rho: 50, error=lambda rho: rho)
    half = next(row for row in matched(rows, "own", "a") if row["rho"] == 0.4 and row["seed"] == 0)
    assert half["other"] == pytest.approx(90 - 5 * 0.4)  # between losses 0.5 (rank 90) and 0.25 (rank 85)


def test_radii_at_which_nothing_is_learnt_do_not_count():
    rows = invented(rank=lambda rho: 80, error=lambda rho: 1.0)
    rows = [row | {"rank/a": 1, "train_error": 80.0} if row["rho"] == 0.4 else row for row in rows]
    assert unlearnt(rows, "own") == [0.4]
    assert verdicts(rows)["rank_falls_with_rho"] != "holds"


def test_runs_that_sgd_never_was_like_are_not_compared():
    rows = invented(rank=lambda rho: 50, error=lambda rho: rho)
    rows = [row | {"train_loss": 0.9} if row["rho"] == 0.4 else row for row in rows]
    assert {pair["rho"] for pair in matched(rows, "own", "a")} == {0.1, 0.2}


def test_figures_are_drawn_without_a_seed_with_which_sgd_diverged():
    rows = invented(rank=lambda rho: 50, error=lambda rho: rho)
    rows = [row | {"diverged": row["rho"] == 0 and row["seed"] == 0} for row in rows]
    assert "Rank at equal training loss" in [figure.title for figure in figures(Config(), rows)]


def test_the_papers_setting_has_both_of_its_recipes():
    grid = cells(PAPER)
    assert {cell["recipe"] for cell in grid} == {"minimal", "state-of-the-art"}
    assert len(grid) == 2 * 6 * 3


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"rhos": (0.1, 0.2, 0.3)}, r"rhos must ascend from 0 and be at least three, got \(0.1"),
        ({"rhos": (0.0, -0.2, 0.3)}, "rhos must be a finite number >= 0, got -0.2"),
        ({"recipes": ("best",)}, "recipes must be one of own, minimal, state-of-the-art, got 'best'"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Config(**wrong)


def test_unknown_names_say_the_nearest():
    with pytest.raises(LookupError, match=r"no data set called 'digit'. Did you mean digits"):
        Config(data="digit")
    with pytest.raises(LookupError, match=r"no model called 'convv'. Did you mean conv"):
        Config(model="convv:widths=(4,)")
