import random

import pytest
import torch

from lowland.report.claim import judge_all
from lowland.studies.depth_lowers_rank import (
    CLAIMS,
    TINY,
    Config,
    cells,
    check,
    random_networks,
)

CONFIG = Config(seeds=4)
SHAPES = {"rank": -1, "centred": -1, "spread": 1}


def invented(change=lambda cell, name, slope: slope):
    """Rows in which all claims hold; ``change`` is given the cell, a quantity and its slope over depth."""
    chance, found = random.Random(0), []
    for cell in cells(CONFIG):
        depths = CONFIG.depths if cell["part"] == "random" else CONFIG.trained_depths
        for depth in depths:
            slopes = {**SHAPES, "rank": 0} if cell["how"] == "orthogonal" else SHAPES
            sizes = {
                name: 2 + change(cell, name, slope) * 0.05 * depth + chance.gauss(0, 1e-4)
                for name, slope in slopes.items()
            }
            closed = 2 - 0.05 * depth
            found.append({**cell, "depth": depth, **sizes, "closed_form": closed, "diverged": False})
    return found


def verdicts(rows):
    return {verdict.claim.id: verdict.outcome for verdict in judge_all(CLAIMS, rows)}


def test_all_claims_hold_where_ranks_are_as_published():
    assert set(verdicts(invented()).values()) == {"holds"}


@pytest.mark.parametrize(
    ("claim", "change"),
    [
        ("random_linear_networks_follow_the_closed_form", lambda cell, name, slope: 0.5 * slope),
        (
            "rank_falls_with_depth_at_random",
            lambda cell, name, slope: slope * (-1 if cell["net"] == "relu" else 1),
        ),
        ("spread_grows_with_depth", lambda cell, name, slope: -slope),
        ("centred_rank_falls_too", lambda cell, name, slope: -slope if name == "centred" else slope),
        ("orthogonal_networks_keep_their_rank", lambda cell, name, slope: slope - (cell["how"] == "orthogonal")),
        (
            "deeper_linear_solutions_have_lower_rank",
            lambda cell, name, slope: -slope if cell["how"] == "adam" and cell["net"] == "linear" else slope,
        ),
        (
            "deeper_relu_solutions_have_lower_rank",
            lambda cell, name, slope: -slope if cell["how"] == "lbfgs" and cell["net"] == "relu" else slope,
        ),
    ],
)
def test_a_doctored_table_turns_the_verdict(claim, change):
    assert verdicts(invented(change))[claim] == "fails"


@pytest.mark.parametrize("net", ["linear", "relu"])
def test_a_spread_that_falls_at_the_last_step_fails(net):
    rows = invented()
    for row in rows:
        if row["part"] == "random" and row["net"] == net and row["depth"] == CONFIG.depths[-1]:
            row["spread"] -= 0.6
    assert verdicts(rows)["spread_grows_with_depth"] == "fails"


def test_a_network_that_did_not_learn_leaves_a_doubt():
    rows = [row | {"diverged": row["how"] == "adam" and row["seed"] == 1} for row in invented()]
    assert verdicts(rows)["deeper_linear_solutions_have_lower_rank"] == "inconclusive"


def test_densities_are_shares_per_nat():
    row = random_networks(TINY, cells(TINY)[0], 2)
    width = torch.tensor(TINY.outputs).log().item() / len(row["density"])
    assert sum(row["density"]) * width == pytest.approx(1)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"depths": (2, 4)}, r"depths must ascend from 1 and be at least two, got \(2, 4\)"),
        ({"trained_depths": (1,)}, "trained_depths must ascend from 1"),
        ({"draws": 1}, "draws must be at least 2, got 1"),
        ({"level": 1.0}, r"level must be in \(0, 1\), got 1"),
        ({"optimizers": ("sga",)}, "optimizers must be one of sgd, momentum"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Config(**wrong)


def test_chains_without_a_closed_form_are_refused_at_the_door():
    with pytest.raises(ValueError, match="the chain is too long for its width"):
        check(Config(width=8, depths=(1, 16)))
