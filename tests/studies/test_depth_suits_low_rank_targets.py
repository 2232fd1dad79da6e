import math
import random

import pytest
import torch

from lowland.report.claim import judge_all
from lowland.runs.context import Context
from lowland.studies.depth_suits_low_rank_targets import (
    CLAIMS,
    TINY,
    Config,
    cells,
    outputs,
    run,
    start,
    target,
    trained,
)

CONFIG = Config(seeds=4)
ERRORS = {1: 400, 2: 100, 4: 40, 8: 30, 16: 60}


def invented(change=lambda row: {}):
    """Rows in which all claims hold; what ``change`` returns for a row overrules it."""
    chance, found = random.Random(0), []
    for cell in cells(CONFIG):
        full, depth = cell["rank"] == CONFIG.size, cell["depth"]
        row = {
            **cell,
            "factors_more": depth - 1,
            "full": full,
            "error": ERRORS[depth] + chance.gauss(0, 1),
            "train_error": 0.01 * depth + chance.gauss(0, 1e-3) + 50 * (full and depth == 16),
            "effective_rank": 3 - 0.1 * depth,
            "learning_rate": 0.02,
            "diverged": False,
        }
        found.append(row | change(row))
    return found


def verdicts(rows):
    return {verdict.claim.id: verdict.outcome for verdict in judge_all(CLAIMS, rows)}


def test_all_claims_hold_where_errors_are_as_published():
    assert set(verdicts(invented()).values()) == {"holds"}


@pytest.mark.parametrize(
    ("claim", "change"),
    [
        ("too_shallow_is_worse", lambda row: {"error": -row["error"]} if row["start"] == "small" else {}),
        ("too_deep_is_worse", lambda row: {"error": 5.0} if row["depth"] == 16 and row["rank"] == 4 else {}),
        ("too_shallow_is_worse_from_a_larger_start", lambda row: {"error": -row["error"]}),
        ("too_deep_is_worse_from_a_larger_start", lambda row: {"error": 5.0} if row["depth"] == 16 else {}),
        ("rank_falls_with_depth", lambda row: {"effective_rank": row["depth"]} if row["rank"] == 1 else {}),
        ("deep_networks_do_not_learn_full_rank", lambda row: {"train_error": 0.01 * row["depth"]}),
        ("deep_networks_learn_low_rank", lambda row: {"train_error": 20.0} if row["depth"] == 16 else {}),
    ],
)
def test_a_doctored_table_turns_the_verdict(claim, change):
    assert verdicts(invented(change))[claim] == "fails"


def test_a_diverged_run_leaves_a_doubt():
    lost = {"rank": 4, "start": "small", "depth": 8, "seed": 1}
    rows = invented(lambda row: {"diverged": lost.items() <= row.items()})
    assert verdicts(rows)["too_deep_is_worse"] == "inconclusive"
    assert verdicts(rows)["too_deep_is_worse_from_a_larger_start"] == "holds"


def test_one_factor_keeps_its_start_where_the_data_say_nothing():
    config = Config(size=4, examples=2, ranks=(2,))
    truth, x = target(config, 2, 0)
    W0 = start(config, 1, 0.7, 0)[0]
    P = torch.linalg.pinv(x) @ x
    found = trained(truth, x, start(config, 1, 0.7, 0), 0.05, 400)
    torch.testing.assert_close(found, truth @ P + W0 @ (torch.eye(4, dtype=torch.float64) - P), rtol=0, atol=1e-6)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_targets_have_their_rank_and_spectral_norm_one(rank):
    truth, x = target(Config(size=8, examples=5), rank, 0)
    assert torch.linalg.matrix_rank(truth) == rank
    assert torch.linalg.matrix_norm(truth, 2).item() == pytest.approx(1)
    assert tuple(x.shape) == (5, 8)


def test_a_rate_that_diverges_is_followed_by_a_third_of_it_and_three_times_the_steps(tmp_path):
    config = Config(**{**vars(TINY), "learning_rate": 3.0})
    row = run(
        config, {"rank": 1, "start": "large", "depth": 1, "seed": 0}, Context("cpu", tmp_path, lambda _: None)
    )[0]
    cuts = round(math.log(3.0 / row["learning_rate"], 3))
    assert 1 <= cuts <= 5
    truth, x = target(config, 1, 0)
    W = trained(truth, x, start(config, 1, config.large, 0), 3.0 / 3**cuts, config.steps * 3**cuts)
    error = (W - truth).square().sum() / truth.square().sum()
    assert row["error"] == pytest.approx(100 * error.item())


@pytest.mark.parametrize("depth", [1, 3])
def test_outputs_are_those_of_the_product_of_the_factors(depth):
    factors, x = torch.randn(depth, 4, 4, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    W = torch.linalg.multi_dot([*factors.flip(0), torch.eye(4, dtype=torch.float64)])
    torch.testing.assert_close(outputs(factors, x), x @ W.T)


def test_notes_name_the_depth_that_is_compared():
    (found,) = [v for v in judge_all(CLAIMS, invented()) if v.claim.id == "too_deep_is_worse"]
    assert found.reasons[0] == "Rank 1: best number of factors between, chosen for each seed by the others: 8."


def test_a_run_that_diverges_at_every_rate_says_so(tmp_path):
    config = Config(**{**vars(TINY), "learning_rate": 1e9})
    rows = run(
        config, {"rank": 1, "start": "large", "depth": 2, "seed": 0}, Context("cpu", tmp_path, lambda _: None)
    )
    assert rows[0]["diverged"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"examples": 32}, "examples must be fewer than the 32 inputs, got 32"),
        ({"ranks": (32,)}, r"ranks must be between 1 and size - 1, at least one, got \(32,\)"),
        ({"depths": (1, 4)}, "depths must ascend from 1 and be at least three"),
        ({"large": 0.5}, "large must be above small, 0.7, got 0.5"),
        ({"learning_rate": 0.0}, "learning_rate must be a finite number >= 1e-06, got 0"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Config(**wrong)
