import random

import pytest
import torch

from lowland.experiments.training import load_images
from lowland.layers.collapse import collapse
from lowland.observe.weights import weights
from lowland.report.claim import judge_all
from lowland.studies.overparameterised_layers_have_lower_rank import (
    CLAIMS,
    TINY,
    Config,
    cells,
    entropy,
    network,
    ranks,
)

CONFIG = Config(seeds=4)
LAYERS = ("blocks.0.0", "head")


def invented(change=lambda cell, layer: {}):
    """Rows in which all claims hold; what ``change`` returns for a cell and layer overrules it."""
    chance, found = random.Random(0), []
    for cell in cells(CONFIG):
        row = {**cell, "diverged": False, "train_error": 1.0, "test_error": 30.0}
        for layer in LAYERS:
            less = 0.1 * cell["expansion"]
            start = 4.0 if cell["way"] == "balanced" else 4 - less
            end = start - less * (2 if cell["way"] == "decay" else 1) + chance.gauss(0, 1e-3)
            sizes = {"start": start, "end": end, "change": end - start} | change(cell, layer)
            row |= {f"{name}/{layer}": size for name, size in sizes.items()}
        found.append(row)
    return found


def verdicts(rows):
    return {verdict.claim.id: verdict.outcome for verdict in judge_all(CLAIMS, rows)}


def test_all_claims_hold_where_ranks_are_as_published():
    assert set(verdicts(invented()).values()) == {"holds"}


@pytest.mark.parametrize(
    ("claim", "way", "quantity"),
    [
        ("rank_falls_with_factors_at_the_start", "random", "start"),
        ("rank_falls_with_factors_after_training", "random", "end"),
        ("training_lowers_the_rank_of_products_more", "random", "change"),
        ("rank_falls_from_the_same_function", "balanced", "end"),
        ("decay_lowers_the_rank_of_products_more", "decay", "end"),
    ],
)
def test_one_layer_whose_rank_rises_turns_the_verdict(claim, way, quantity):
    def change(cell, layer):
        return {quantity: 4.0 + cell["expansion"]} if cell["way"] == way and layer == "head" else {}

    assert verdicts(invented(change))[claim] == "fails"


def test_a_diverged_run_leaves_a_doubt():
    rows = [row | {"diverged": row["way"] == "balanced" and row["seed"] == 1} for row in invented()]
    assert verdicts(rows)["rank_falls_from_the_same_function"] == "inconclusive"
    assert verdicts(rows)["rank_falls_with_factors_after_training"] == "holds"


def test_decay_is_compared_over_the_seeds_that_both_ways_have():
    rows = [row | {"diverged": row["way"] == "decay" and row["seed"] == 0} for row in invented()]
    assert verdicts(rows)["decay_lowers_the_rank_of_products_more"] == "inconclusive"


def test_balanced_networks_begin_as_one_function_and_random_ones_do_not():
    data = load_images(TINY.data, TINY.train)
    x = data.train.x[:5]
    one, more, other = (
        network(TINY, data, {"way": way, "expansion": factors, "seed": 0})
        for way, factors in (("balanced", 1), ("balanced", 4), ("random", 4))
    )
    torch.testing.assert_close(more(x), one(x), rtol=1e-4, atol=1e-4)
    assert (other(x) - one(x)).abs().max() > 0.1


def test_ranks_are_those_of_the_products():
    data = load_images(TINY.data, TINY.train)
    model = network(TINY, data, {"way": "random", "expansion": 3, "seed": 0})
    plain = {weight.name: weight.matrix for weight in weights(collapse(model))}
    assert ranks(model) == {
        "blocks.0.0": entropy(plain["blocks.0.0.weight"]),
        "head": entropy(plain["head.weight"]),
    }


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"expansions": (2, 4)}, r"expansions must ascend from 1 and be at least two, got \(2, 4\)"),
        ({"decay": 0.0}, "decay must be a finite number >= 1e-12, got 0"),
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Config(**wrong)
