import random

import pytest
import torch
from torch import nn

from lowland.experiments.beginning import begin
from lowland.operators.hessian import hessian
from lowland.operators.problem import problem
from lowland.penalties.hessian_trace import HessianTrace
from lowland.report.claim import judge_all
from lowland.studies.minimising_the_nme_trace_harms import (
    CLAIMS,
    TINY,
    Config,
    cells,
    penalised,
    rise,
)

CONFIG = Config(seeds=4)

AS_PUBLISHED = {
    "plain": {"trace_h": 20.0, "trace_g": 18.0, "trace_n": 2.0, "test_error": 3.0},
    "gauss_newton": {"trace_h": 15.0, "trace_g": 10.0, "trace_n": 5.0, "test_error": 2.5},
    "hessian": {"trace_h": -60.0, "trace_g": 30.0, "trace_n": -90.0, "test_error": 12.0},
    "hessian_many": {"trace_h": -40.0, "trace_g": 30.0, "trace_n": -70.0, "test_error": 10.0},
    "noise": {"trace_h": 5.0, "trace_g": 5.0, "trace_n": 0.0, "test_error": 6.0},
}


def invented(**other):
    """Rows of the whole grid; only at the largest variance anything differs from plain training."""
    chance, rows = random.Random(0), []
    for cell in cells(CONFIG):
        arm = cell["arm"] if cell["variance"] == CONFIG.variances[-1] else "plain"
        usual = AS_PUBLISHED[arm] | other.get(arm, {})
        sizes = {key: value + chance.gauss(0, 0.1) for key, value in usual.items()}
        rows.append({**cell, "diverged": False, "train_loss": 0.1, **sizes})
    return rows


def verdicts(rows):
    return [verdict.outcome for verdict in judge_all(CLAIMS, rows)]


def test_all_claims_hold_where_traces_and_errors_are_as_published():
    assert verdicts(invented()) == ["holds"] * 6


@pytest.mark.parametrize(
    ("claim", "other"),
    [
        (0, {"hessian": {"trace_h": 5.0}}),
        (0, {"hessian": {"trace_n": 5.0}}),
        (1, {"hessian_many": {"trace_h": 5.0}}),
        (2, {"gauss_newton": {"trace_g": 25.0}}),
        (2, {"gauss_newton": {"trace_h": -5.0}}),
        (3, {"hessian": {"test_error": 1.0}}),
        (4, {"gauss_newton": {"test_error": 9.0}}),
        (5, {"noise": {"test_error": 1.0}}),
    ],
)
def test_each_claim_fails_where_it_is_otherwise(claim, other):
    assert verdicts(invented(**other))[claim] == "fails"


def test_a_run_that_diverged_leaves_a_doubt_where_it_counts():
    rows = [row | {"diverged": row["arm"] == "hessian" and row["seed"] == 2} for row in invented()]
    assert verdicts(rows) == ["inconclusive", "holds", "holds", "inconclusive", "holds", "holds"]


def test_noise_and_penalty_are_compared_over_the_seeds_that_both_have():
    rows = [row | {"diverged": row["arm"] == "noise" and row["seed"] == 0} for row in invented()]
    assert verdicts(rows) == ["holds"] * 5 + ["inconclusive"]


def test_the_rise_under_narrow_noise_is_half_the_variance_times_the_trace():
    start = begin(TINY, 0, "cpu", dtype=torch.float64)
    p = problem(start.model, nn.functional.cross_entropy, (start.train.x, start.train.y))
    expected = 1e-6 / 2 * hessian(p).dense().trace().item()
    before = [w.clone() for w in start.model.parameters()]
    assert rise(start.model, start.train, 1e-6, draws=2000) == pytest.approx(expected, rel=0.1)
    assert all(torch.equal(w, was) for w, was in zip(start.model.parameters(), before, strict=True))


@pytest.mark.parametrize("arm", ["hessian", "hessian_many", "gauss_newton"])
def test_a_penalty_of_no_variance_is_the_loss_alone(arm):
    start = begin(TINY, 0, "cpu")
    optimizer = torch.optim.SGD(start.model.parameters(), lr=0.1)
    z = start.model(start.train.x)
    found = penalised(TINY, arm, 0.0, start, optimizer)(z, start.train.y)
    assert torch.equal(found, nn.functional.cross_entropy(z, start.train.y))


def test_a_penalty_is_added_to_the_loss():
    start = begin(TINY, 0, "cpu")
    optimizer = torch.optim.SGD(start.model.parameters(), lr=0.1)
    z = start.model(start.train.x)
    loss = nn.functional.cross_entropy(z, start.train.y)
    torch.manual_seed(0)
    found = penalised(TINY, "hessian", 0.25, start, optimizer)(z, start.train.y)
    torch.manual_seed(0)
    assert torch.equal(found, loss + HessianTrace(sigma=0.5).bind(start.model, optimizer)(loss))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"probes": 1}, "probes must be at least 2, got 1"),
        ({"variances": (0.0, 0.1)}, "variances must ascend from above 0 and be at least one, got"),
        ({"vectors": 0}, "vectors must be at least 1, got 0"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Config(**wrong)
