import random

import pytest
import torch

from lowland.experiments.training import load_images
from lowland.layers.collapse import collapse
from lowland.report.claim import judge_all
from lowland.runs.context import Context
from lowland.studies.overparameterisation_generalises import (
    CLAIMS,
    TINY,
    Config,
    cells,
    chosen,
    kernel_rank,
    look,
    matched,
    network,
    parted,
    run,
)

CONFIG = Config(seeds=4, learning_rates=(0.01, 0.1))
EPOCHS = 4


def invented(change=lambda row: {}):
    """Rows in which all claims hold at the first rate; what ``change`` returns for a row overrules it."""
    chance, found = random.Random(0), []
    for cell in cells(CONFIG):
        for epoch in range(1, EPOCHS + 1):
            row = {
                **cell,
                "epoch": epoch,
                "final": epoch == EPOCHS,
                "diverged": False,
                "loss": 1 / epoch + 0.01 * cell["expansion"] + chance.gauss(0, 0.001),
                "test_error": 20 - epoch - cell["expansion"] + chance.gauss(0, 0.1),
                "train_error": 2 + cell["expansion"] + chance.gauss(0, 0.1),
                "held_error": 15 + 10 * (cell["rate"] == 0.1),
                "feature_rank": 3 - 0.1 * cell["expansion"],
            }
            found.append(row | change(row))
    return found


def verdicts(rows):
    return {verdict.claim.id: verdict.outcome for verdict in judge_all(CLAIMS, rows)}


def test_all_claims_hold_where_errors_are_as_published():
    assert set(verdicts(invented()).values()) == {"holds"}


def worse(decay):
    return lambda row: {"test_error": 20.0 + row["expansion"]} if row["decay"] == decay else {}


@pytest.mark.parametrize(
    ("claim", "change"),
    [
        ("generalises_better_without_decay", worse(0.0)),
        ("generalises_better_with_decay", worse(5e-4)),
        ("generalises_better_at_equal_loss", worse(0.0)),
        ("fits_less", lambda row: {"loss": row["loss"] - 0.02 * row["expansion"]}),
        ("features_have_lower_rank", lambda row: {"feature_rank": row["expansion"]} if row["decay"] else {}),
    ],
)
def test_a_doctored_table_turns_the_verdict(claim, change):
    assert verdicts(invented(change))[claim] == "fails"


def test_the_learning_rate_is_chosen_on_validation_images_for_each_arm():
    rows = invented(lambda row: {"held_error": 5.0} if row["expansion"] == 4 and row["rate"] == 0.1 else {})
    assert {(row["expansion"], row["rate"]) for row in chosen(rows)} == {(1, 0.01), (2, 0.01), (4, 0.1), (8, 0.01)}


def test_a_rate_at_which_a_run_diverges_is_not_chosen():
    lost = {"rate": 0.01, "expansion": 2, "seed": 1, "final": True}
    rows = invented(lambda row: {"diverged": lost.items() <= row.items()})
    assert {row["rate"] for row in chosen(rows) if row["expansion"] == 2 and row["decay"] == 0} == {0.1}


def test_a_network_that_learns_at_no_rate_leaves_no_verdict():
    rows = invented(lambda row: {"diverged": row["expansion"] == 8 and row["final"]})
    assert set(verdicts(rows).values()) == {"inconclusive"}


def test_errors_are_compared_where_both_runs_had_the_loss():
    def row(factors, loss, error):
        return {"expansion": factors, "seed": 0, "loss": loss, "test_error": error}

    rows = [row(1, 1.0, 30.0), row(1, 0.5, 20.0), row(4, 0.8, 28.0), row(4, 0.75, 26.0)]
    assert matched(rows, 4, 0) == (26.0, 25.0)


def test_a_network_whose_outputs_are_not_finite_has_diverged(tmp_path):
    config = Config(**{**vars(TINY), "epochs": 2, "learning_rates": (1e30,)})
    rows = run(config, cells(config)[0], Context("cpu", tmp_path, lambda share: None))
    assert rows[-1]["diverged"]
    model = network(TINY, load_images(TINY.data, TINY.train), {"expansion": 1, "seed": 0})
    for lost in (float("inf"), 1e37):  # finite outputs have a sum that is not
        model.head.bias.data.fill_(lost)
        assert look(*parted(load_images(TINY.data, TINY.train), TINY.validation), model, False) == {}


def test_held_out_images_are_not_trained_on():
    data = load_images(TINY.data, TINY.train)
    ours, held = parted(data, TINY.validation)
    assert (len(ours.train), len(held)) == (40, 20)
    torch.testing.assert_close(torch.cat([ours.train.x, held.x]), data.train.x, rtol=0, atol=0)


def test_the_rank_of_features_is_that_of_the_plain_network():
    data = load_images(TINY.data, TINY.train)
    model = network(TINY, data, {"expansion": 3, "seed": 0})
    assert kernel_rank(model, data.test.x) == pytest.approx(kernel_rank(collapse(model), data.test.x), rel=1e-4)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"validation": 1000}, "validation must be less than the 1000 images, got 1000"),
        ({"decays": (1e-4,)}, "decays must ascend from 0"),
        ({"expansions": (1,)}, "expansions must ascend from 1 and be at least two"),
        ({"learning_rates": ()}, "learning_rates must be at least one, got none"),
        ({"learning_rates": (0.0,)}, "learning_rates must be a finite number >= 1e-12"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Config(**wrong)
