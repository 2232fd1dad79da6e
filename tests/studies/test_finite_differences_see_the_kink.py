import random

import pytest
import torch

from lowland.experiments.beginning import begin
from lowland.report.claim import judge_all
from lowland.studies.finite_differences_see_the_kink import (
    ABLATED,
    BUMP,
    CLAIMS,
    SMOOTH,
    TINY,
    Config,
    cells,
    check,
    gradient_at,
    loss_of,
    relu_never,
)

CONFIG = Config(seeds=4)


def invented(**errors):
    """Rows of the whole grid as the paper would have them; ``errors`` by quantity are given activation and rho."""
    usual = {"error": expected, "without_nme": lambda name, rho: expected(name, rho) + 0.1} | errors
    chance, rows = random.Random(0), []
    for cell in cells(CONFIG):
        for rho in CONFIG.rhos:
            found = {
                key: size(cell["activation"], rho) * chance.uniform(0.99, 1.01) for key, size in usual.items()
            }
            rows.append({**cell, "rho": rho, "diverged": False, "floor": 0.02, "loss": 1.0, **found})
    return rows


def expected(name, rho):
    if name in SMOOTH:
        return rho
    if name == ABLATED:
        return (rho**2 + 0.02**2) ** 0.5
    return (0.09 if name == BUMP else 0.1) + rho + 2e-4 / rho


def verdicts(rows):
    return [verdict.outcome for verdict in judge_all(CLAIMS, rows)]


def other(activation, error):
    """Errors as expected, but for one activation's."""
    return {"error": lambda name, rho: error(rho) if name == activation else expected(name, rho)}


def test_all_claims_hold_where_errors_are_as_the_paper_has_it():
    assert verdicts(invented()) == ["holds"] * 5


@pytest.mark.parametrize(
    ("claim", "errors"),
    [
        (0, other("gelu", lambda rho: rho**0.5)),
        (1, other("relu", lambda rho: rho)),
        (1, other("relu", lambda rho: 0.1 + rho)),
        (2, other(ABLATED, lambda rho: 0.05 + rho)),
        (3, other(BUMP, lambda rho: 0.2 + rho)),
        (4, {"without_nme": lambda name, rho: 2 * rho}),
    ],
)
def test_each_claim_fails_where_its_errors_are_otherwise(claim, errors):
    assert verdicts(invented(**errors))[claim] == "fails"


def test_a_network_that_diverged_leaves_a_doubt():
    rows = [row | {"diverged": row["activation"] == "relu" and row["seed"] == 0} for row in invented()]
    assert verdicts(rows) == ["holds", "inconclusive", "holds", "inconclusive", "holds"]


def test_activations_are_compared_within_a_seed_also_where_one_diverged():
    rows = [row | {"error": row["error"] * 10 ** row["seed"]} for row in invented()]
    lost = [row | {"diverged": row["activation"] == "relu" and row["seed"] == 0} for row in rows]
    assert relu_never(lost)[0].value == pytest.approx(relu_never(rows)[0].value, abs=0.1)


def test_the_gradient_beside_the_weights_leaves_them_bit_identical():
    start = begin(TINY, 0, "cpu", dtype=torch.float64, activation="gelu")
    p, before = loss_of(start.model, start.train), [w.clone() for w in start.model.parameters()]
    g = p.gradient()
    assert not torch.equal(gradient_at(p, 0.1 * g), g)
    assert all(torch.equal(w, was) for w, was in zip(start.model.parameters(), before, strict=True))
    assert torch.equal(p.gradient(), g)


def test_a_beginning_is_the_same_for_one_seed_and_another_for_another():
    one, again, another = (
        torch.cat([w.flatten() for w in begin(TINY, seed, "cpu", activation="relu").model.parameters()])
        for seed in (0, 0, 1)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, another)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"rhos": (0.1, 0.2)}, "rhos must ascend from above 0 and be at least three, got"),
        ({"rhos": (0.0, 0.1, 0.2)}, "rhos must ascend from above 0"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Config(**wrong)


def test_a_network_with_an_activation_of_its_own_is_refused_by_words():
    with pytest.raises(ValueError, match="leave the activation to the study, got 'mlp:activation=relu'"):
        check(Config(model="mlp:activation=relu"))
