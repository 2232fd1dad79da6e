import pytest

from lowland.report.at_same_loss import at_same_loss

PLAIN = [
    {"seed": seed, "train_loss": loss, "rank": 10 * loss + seed} for seed in (0, 1) for loss in (2.0, 1.0, 0.5)
]


def run(loss, seed=0):
    return {"rho": 0.1, "seed": seed, "train_loss": loss, "rank": 7.0}


def others(*runs):
    return [pair["other"] for pair in at_same_loss(runs, PLAIN, "rank")]


def test_the_plain_run_counts_where_it_had_the_same_loss():
    assert others(run(1.5), run(0.75, seed=1)) == pytest.approx([15.0, 8.5])


def test_its_last_look_counts_where_it_never_got_as_low():
    assert others(run(0.1)) == [5.0]


def test_a_run_above_its_first_look_or_without_a_plain_one_is_left_out():
    assert others(run(2.1), run(1.0, seed=2)) == []
