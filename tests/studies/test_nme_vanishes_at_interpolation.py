import math
import random

import pytest
import torch

from lowland.experiments.beginning import begin
from lowland.operators.gauss_newton import gauss_newton
from lowland.operators.hessian import hessian
from lowland.operators.problem import problem
from lowland.report.claim import judge_all
from lowland.studies.nme_vanishes_at_interpolation import (
    CLAIMS,
    POWERS,
    TINY,
    Config,
    cells,
    check,
    look,
    power,
    squared,
)

LOSSES = (1.0, 0.5, 0.05, 0.01, 1e-3, 1e-4)


def invented(powers, losses=LOSSES, power_of_g=1.0):
    """Rows in which the ratio, and with cross-entropy the trace of G, go as powers of the loss."""
    chance, rows = random.Random(0), []
    for cell in cells(Config(seeds=4)):
        for epoch, loss in enumerate(losses):
            ratio = (loss ** powers[cell["objective"]] + 0.01 * loss) * chance.uniform(0.98, 1.02)
            trace = loss**power_of_g * chance.uniform(0.98, 1.02) if cell["objective"] == "cross-entropy" else 1.0
            found = {"train_loss": loss, "ratio": ratio, "trace_g": trace, "trace_n": 0.1}
            rows.append({**cell, "epoch": epoch, "diverged": False, **found})
    return rows


def as_predicted(power_of_g=1.0, **other):
    return invented({**POWERS, "cross-entropy": 0.05} | other, power_of_g=power_of_g)


def verdicts(rows):
    return [verdict.outcome for verdict in judge_all(CLAIMS, rows)]


def test_all_claims_hold_where_powers_are_near_the_predicted_ones():
    assert verdicts(as_predicted()) == ["holds"] * 3


@pytest.mark.parametrize(
    ("claim", "powers"),
    [
        (0, {"squared error": -0.3}),
        (1, {"squared error": 0.1}),
        (1, {"squared error": 1.0}),
        (2, {"cross-entropy": 0.2}),
        (2, {"power_of_g": 0.7}),
        (2, {"power_of_g": 0.0}),
    ],
)
def test_each_claim_fails_where_its_power_is_another(claim, powers):
    assert verdicts(as_predicted(**powers))[claim] == "fails"


def test_claims_can_stand_in_a_table():
    assert not [claim.id for claim in CLAIMS if set("|_") & set(claim.text)]


def test_without_enough_looks_at_a_small_loss_no_power_is_judged():
    found = judge_all(CLAIMS, invented(POWERS | {"cross-entropy": 0.2}, losses=LOSSES[:4]))
    assert [verdict.outcome for verdict in found[1:]] == ["inconclusive"] * 2
    assert "the loss never fell to a tenth at three looks" in found[1].note


def test_a_run_that_diverged_leaves_a_doubt():
    rows = [row | {"diverged": row["objective"] == "squared error" and row["seed"] == 1} for row in as_predicted()]
    assert verdicts(rows) == ["inconclusive", "inconclusive", "holds"]


def test_a_power_is_fitted_to_late_looks_alone():
    looks = [{"train_loss": loss, "ratio": loss**0.7 if loss < 0.1 else 9.0} for loss in LOSSES]
    assert power(looks, "ratio") == pytest.approx(0.7)


def test_a_look_has_the_traces_of_both_parts():
    start = begin(TINY, 0, "cpu", dtype=torch.float64)
    p = problem(start.model, squared, (start.train.x, start.train.y))
    found = look(p, 10)
    G, H = gauss_newton(p).dense(), hessian(p).dense()
    assert found["trace_g"] == pytest.approx(G.trace().item(), rel=0.3)
    assert found["trace_g"] + found["trace_n"] == pytest.approx(H.trace().item(), rel=0.3)
    v = torch.randn(p.size, 500, dtype=p.dtype, generator=torch.Generator().manual_seed(0))
    assert found["ratio"] == pytest.approx(
        (((H - G) @ v).norm(dim=0) / (G @ v).norm(dim=0)).mean().item(), rel=0.3
    )


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"looks": 3}, "looks must be at least 4, got 3"),
        ({"probes": 1}, "probes must be at least 2, got 1"),
        ({"probes": 11}, "probes must be at most 10, got 11"),
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Config(**wrong)


def test_a_network_without_an_nme_is_refused_by_words():
    with pytest.raises(ValueError, match=r"model must not be linear in its weights, got 'mlp:widths=\(\)'"):
        check(Config(model="mlp:widths=()", train=60))


@pytest.mark.parametrize(
    ("wrong", "words"), [({"momentum": 1.5}, "momentum must be"), ({"learning_rate": math.nan}, "learning_rate")]
)
def test_numbers_out_of_range_are_refused_before_any_run(wrong, words):
    with pytest.raises(ValueError, match=words):
        check(Config(**wrong, train=60))
