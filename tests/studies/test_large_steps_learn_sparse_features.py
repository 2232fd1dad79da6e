import math
import random
from pathlib import Path

import pytest
import torch

from lowland.report.claim import judge_all
from lowland.runs.context import Context
from lowland.runs.large_steps import Diagonal
from lowland.studies.large_steps_learn_sparse_features import (
    CLAIMS,
    DIAGONAL,
    ONE,
    PHASES,
    RATES,
    STUDENTS,
    TINY,
    Config,
    in_use,
    learnt,
    one_weight,
    run,
    task,
)
from lowland.theory.stabilised_loss import stabilised_loss

SEEDS = 4


def one(level=stabilised_loss, period=lambda rate: 2 if rate < 1.235 else 4, edge=2.0):
    chance, found = random.Random(0), []
    for rate in RATES:
        for seed in range(SEEDS):
            size = level(rate) * (1 + chance.gauss(0, 1e-5)) if rate < 1.235 else 0.05
            more = {"level": size, "period": period(rate), "bounded": float(rate < edge)}
            found.append({"task": ONE, "rate": rate, "seed": seed, "diverged": False, **more})
    return found


def networks(size, hovering=lambda step: 0.05, diverged=lambda row: False):
    """Rows of both networks; ``size`` of everything after training is given the share of large steps."""
    chance, found = random.Random(0), []
    for kind in (DIAGONAL, STUDENTS):
        for phase in PHASES:
            for seed in range(SEEDS):
                for step in (0, 10, 45, 100):
                    loss = hovering(step) if step < 100 * phase else 1e-4
                    final = size(phase) * (1 + chance.gauss(0, 0.01))
                    facts = {"task": kind, "phase": phase, "seed": seed, "step": step, "final": step == 100}
                    ends = {"test_loss": final, "log_test": math.log(final), "used": 100 * final, "rank": final}
                    ends = ends if step == 100 else {}
                    found.append({**facts, "train_loss": loss, "log": math.log(loss), **ends})
                    found[-1]["diverged"] = diverged(found[-1])
    return found


def verdicts(rows):
    return {verdict.claim.id: verdict.outcome for verdict in judge_all(CLAIMS, rows)}


def falling(phase):
    return 1 / (1 + 10 * phase)


def test_all_claims_hold_where_all_is_as_published():
    assert set(verdicts([*one(), *networks(falling)]).values()) == {"holds"}


def test_all_claims_of_networks_fail_where_large_steps_harm():
    found = verdicts([*one(), *networks(lambda phase: 1 + phase, hovering=lambda step: 1e-5)])
    assert [found.pop(name) for name in list(found)[:2]] == ["holds", "holds"]
    assert set(found.values()) == {"fails"}


def test_a_loss_that_is_high_but_falls_does_not_hover():
    found = verdicts([*one(), *networks(falling, hovering=lambda step: 1 / (1 + step))])
    assert [name for name, outcome in found.items() if outcome != "holds"] == ["the_loss_stabilises"]


@pytest.mark.parametrize(
    ("wrong", "claim"),
    [
        ({"level": lambda rate: 1.1 * stabilised_loss(rate)}, 0),
        ({"level": lambda rate: stabilised_loss(rate) + 1e-6}, 0),
        ({"period": lambda rate: 2}, 1),
        ({"period": lambda rate: 4}, 1),
        ({"edge": 1.9}, 1),
        ({"edge": 2.1}, 1),
    ],
)
def test_another_level_period_or_edge_fails(wrong, claim):
    found = [verdict.outcome for verdict in judge_all(CLAIMS, [*one(**wrong), *networks(falling)])]
    assert found[claim] == "fails"
    assert found[1 - claim] == "holds"


def test_a_diverged_run_leaves_the_claims_about_its_network_open():
    lost = {"task": DIAGONAL, "phase": 0.3, "seed": 1}
    rows = networks(falling, diverged=lambda row: lost.items() <= row.items())
    found = list(verdicts([*one(), *rows]).values())
    assert found == ["holds", "holds", *["inconclusive"] * 4, "holds", "holds"]


def test_without_networks_their_claims_say_so():
    assert list(verdicts(one()).values()) == ["holds", "holds", *["inconclusive"] * 6]


@pytest.mark.parametrize(("rate", "period"), [(0.9, 1), (1.05, 2), (1.2, 2), (1.24, 4), (1.6, 0)])
def test_one_weight_has_the_period_of_theory(rate, period):
    found = one_weight(Config(), rate, 0)
    assert found["period"] == period
    assert found["bounded"]
    if rate < 1.236:
        assert found["level"] == pytest.approx(stabilised_loss(rate), abs=1e-12)


def test_one_weight_beyond_the_last_threshold_says_that_it_left():
    found = one_weight(Config(), 2.05, 0)
    assert (found["bounded"], found["level"]) == (0.0, None)


def test_the_jacobian_of_a_diagonal_network_has_the_rank_of_its_entries():
    u = torch.zeros(1, 6, dtype=torch.float64)
    u[0, :2] = 1.0
    found = learnt(task(TINY, DIAGONAL), [u, u], 0)
    assert found["rank"] == found["used"] == 2


def test_copies_and_idle_units_are_not_in_use():
    students = task(Config(width=4), STUDENTS)
    model = torch.nn.Sequential(torch.nn.Linear(2, 4, bias=False), torch.nn.ReLU(), torch.nn.Linear(4, 1)).double()
    model[0].weight.data = torch.tensor([[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]).double()
    x = torch.tensor([[1.0, 1.0], [2.0, -1.0], [3.0, -2.0], [4.0, -1.0]]).double()
    assert in_use(students, model, [(x, x)]) == pytest.approx((1 + 0.25) / 4)
    assert in_use(task(TINY, DIAGONAL), Diagonal(*torch.tensor([[[1.0, 1e-4]], [[1.0, 1.0]]])), []) == 1


def test_every_row_has_a_loss_or_says_that_it_diverged():
    rows = run(TINY, {"task": DIAGONAL}, Context("cpu", Path(), lambda share: None))
    assert {row["final"] for row in rows} == {True, False}
    assert {row["phase"] for row in rows} == set(PHASES)
    assert all(row["diverged"] or math.isfinite(row["train_loss"]) for row in rows)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"settling": 10}, "settling must be at least 100, got 10"),
        ({"inputs": 10}, "inputs must be at least 20, got 10"),
        ({"steps": 20}, "steps must be at least 40, got 20"),
        ({"student_steps": 20}, "student_steps must be at least 40, got 20"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Config(**wrong)
