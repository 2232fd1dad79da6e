from dataclasses import replace

import pytest
import torch

from lowland.experiments.beginning import begin
from lowland.experiments.large_steps import FITTED, SMALL
from lowland.experiments.late_decay import (
    SIZES,
    Decay,
    LateDecay,
    check_late_decay,
    course,
    decayed,
    largest,
    late_decay_run,
    survives,
)
from lowland.runs.context import Context

TASK = LateDecay(model="conv:widths=(4,4),batch_norm=False", train=40, epochs=5, batch=16)


@pytest.fixture
def context(tmp_path):
    return Context("cpu", tmp_path, lambda share: None)


@pytest.mark.parametrize(("steps", "share"), [(15, 0.2), (40, 0.1), (7, 0.5), (9, 0.0)])
def test_the_step_decays_at_the_share_of_training(steps, share):
    large = sum(step < share * steps - 1e-9 for step in range(steps))
    assert [Decay(steps, share)(step) for step in range(steps)] == [1.0] * large + [SMALL] * (steps - large)


def test_a_network_is_trained_by_plain_sgd_with_these_steps(context):
    start, _ = decayed(TASK, 3, 0.3, 0.4, context)
    plain = begin(TASK.training(), 3, "cpu")
    shown = [batch for epoch in range(5) for batch in plain.batches.epoch(epoch)]
    for step, (x, y) in enumerate(shown):
        loss = torch.nn.functional.cross_entropy(plain.model(x), y)
        grads = torch.autograd.grad(loss, list(plain.model.parameters()))
        with torch.no_grad():
            for w, grad in zip(plain.model.parameters(), grads, strict=True):
                w -= (0.3 if step < 6 else 0.3 * SMALL) * grad
    for found, expected in zip(start.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(found, expected)


def test_the_large_step_is_nine_tenths_of_the_largest_that_is_survived(context):
    task = replace(TASK, epochs=40)
    size = largest(task, 0, 0.5, context)
    larger = [each for each in SIZES if each > size]
    assert larger[0] == pytest.approx(size / 0.9)
    tried = [all(survives(task, 0, each * share, 0.5, context) for share in (0.9, 1)) for each in larger]
    assert tried == [True] + [False] * (len(larger) - 1)


def test_survived_is_what_ends_below_a_tenth_of_the_entropy_of_the_labels(context):
    for size in (0.01, 0.8):
        start, history = decayed(TASK, 0, size, 0.5, context)
        shares = start.train.y.bincount() / len(start.train)
        bound = FITTED * -(shares * shares.log()).nansum().item()
        assert survives(TASK, 0, size, 0.5, context) == (history.last["loss"] < bound)
    assert not survives(TASK, 0, 1e30, 0.5, context)


def test_rows_are_of_all_shares_with_steps_chosen_for_the_longest(context):
    task = replace(TASK, epochs=40)
    rows = late_decay_run(task, (0.0, 0.5), 0, context)
    expected = [(phase, (epoch + 1) / 40) for phase in (0.0, 0.5) for epoch in range(40)]
    assert [(row["phase"], row["done"]) for row in rows] == expected
    assert {row["large"] for row in rows} == {largest(task, 0, 0.5, context)}


def test_the_last_row_says_what_was_learnt(context):
    *others, last = course(TASK, 0, 0.1, 0.5, context)
    assert last["final"]
    assert not any(row["final"] or "error" in row for row in others)
    assert {name for name in last if name.startswith("used/")} == {"used/blocks.0", "used/blocks.1"}
    assert all(0 <= last[name] <= 1 for name in ("used/blocks.0", "used/blocks.1"))
    assert 0 <= last["error"] <= 100


def test_shares_of_one_seed_begin_alike(context):
    early, late = (course(TASK, 0, 0.1, share, context) for share in (0.2, 0.5))
    assert early[0] == late[0]
    assert early[1]["train_loss"] != late[1]["train_loss"]


def test_where_no_step_is_survived_every_share_says_that_it_diverged(context):
    rows = late_decay_run(replace(TASK, epochs=1), (0.0, 0.5), 0, context)
    assert [(row["phase"], row["large"], row["diverged"]) for row in rows] == [(0.0, 0.0, True), (0.5, 0.0, True)]


def test_a_run_that_diverges_says_so_at_its_end(context):
    last = course(TASK, 0, 1e30, 0.5, context)[-1]
    assert (last["diverged"], last["final"]) == (True, True)


def test_a_run_that_was_kept_gives_the_same_rows(context):
    first = course(TASK, 0, 0.1, 0.5, context)
    assert course(TASK, 0, 0.1, 0.5, context) == first


def test_settings_that_would_make_every_run_fail_are_refused_by_words():
    with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
        LateDecay(epochs=0)
    with pytest.raises(ValueError, match=r"at most 4096 units, got more in blocks\.0"):
        check_late_decay(replace(TASK, model="conv:widths=(300,2)"))
    with pytest.raises(LookupError, match="no model called 'cnv'"):
        LateDecay(model="cnv")
