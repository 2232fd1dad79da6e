import math
import random

import pytest

from lowland.report.claim import judge_all
from lowland.runs.context import Context
from lowland.studies.large_steps_learn_sparse_features import (
    CLAIMS,
    DIAGONAL,
    IMAGES,
    NETWORKS,
    ONE,
    PAPER,
    PHASES,
    RATES,
    SETTLING,
    THREE,
    TINY,
    TWO,
    Config,
    cells,
    check,
    figures,
    run,
    tables,
)
from lowland.theory.stabilised_loss import stabilised_loss

SEEDS = 4

LAYERS = {
    DIAGONAL: ("entries",),
    TWO: ("layer 1",),
    THREE: ("layer 1", "layer 2"),
    IMAGES: ("blocks.0", "blocks.1", "blocks.2"),
}

OWN = {
    DIAGONAL: ("longer_generalises_better", "longer_is_sparser"),
    TWO: ("students_generalise_better", "students_are_sparser"),
    THREE: ("three_layers_generalise_better", "three_layers_are_sparser"),
    IMAGES: ("convolutions_generalise_better", "convolutions_are_sparser"),
}


def one(off=lambda rate: 0.0, period=lambda rate: 2 if rate < 1.235 else 4, edge=2.0):
    chance, found = random.Random(0), []
    for rate in RATES:
        for seed in range(SEEDS):
            size = off(rate) * (1 + chance.gauss(0, 1e-5)) if rate in SETTLING else None
            more = {"level": 0.05, "off": size, "period": period(rate), "bounded": float(rate < edge)}
            found.append({"task": ONE, "rate": rate, "seed": seed, "diverged": False, **more})
    return found


def falling(phase):
    return 1 / (1 + 10 * phase)


def rising(phase):
    return 1 + phase


def jumping(phase):
    """Falls from none to some, and then rises."""
    return 0.2 + 0.1 * phase if phase else 1.0


def networks(sizes=lambda kind, name: falling, hovering=lambda done: 0.05, diverged=lambda row: False):
    """Rows of all networks; ``sizes`` gives for a kind and a column the course over the share of large steps."""
    chance, found = random.Random(0), []
    for kind in NETWORKS:
        names = ["error", *(f"used/{layer}" for layer in LAYERS[kind]), *(["rank"] if kind != IMAGES else [])]
        for phase in PHASES:
            for seed in range(SEEDS):
                for done in (0.0, 0.1, 0.45, 1.0):
                    loss = hovering(done) if done < phase else 1e-4
                    facts = {"task": kind, "phase": phase, "seed": seed, "done": done, "final": done == 1}
                    ends = {name: 100 * sizes(kind, name)(phase) * (1 + chance.gauss(0, 0.01)) for name in names}
                    ends = {**ends, "log_error": math.log(ends["error"])} if done == 1 else {}
                    losses = {"train_loss": loss, "log_loss": math.log(loss), "large": 0.1}
                    found.append({**facts, **losses, **ends})
                    found[-1]["diverged"] = diverged(found[-1])
    return found


def verdicts(rows):
    return {verdict.claim.id: verdict.outcome for verdict in judge_all(CLAIMS, rows)}


def not_holding(rows):
    return {name: outcome for name, outcome in verdicts(rows).items() if outcome != "holds"}


def test_all_claims_hold_where_all_is_as_published():
    assert not not_holding([*one(), *networks()])


def test_all_claims_of_networks_fail_where_large_steps_harm():
    found = verdicts([*one(), *networks(lambda kind, name: rising, hovering=lambda done: 1e-5)])
    assert [found.pop(name) for name in list(found)[:2]] == ["holds", "holds"]
    assert set(found.values()) == {"fails"}


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_network_has_claims_of_its_own(kind):
    def harmed(where, name):
        return rising if where == kind else falling

    found = not_holding([*one(), *networks(harmed)])
    assert found == dict.fromkeys([*OWN[kind], *(["by_much"] if kind == DIAGONAL else [])], "fails")


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_single_layer_or_rank_that_rises_fails_the_claim_of_sparsity(kind):
    layers = LAYERS[kind][kind == IMAGES :]
    for column in (*(f"used/{layer}" for layer in layers), *(["rank"] if kind != IMAGES else [])):
        rows = networks(lambda where, name, it=(kind, column): rising if (where, name) == it else falling)
        found = not_holding([*one(), *rows])
        found.pop("by_much", None)
        assert found == {OWN[kind][1]: "fails"}


@pytest.mark.parametrize("kind", NETWORKS)
def test_one_jump_from_none_to_some_large_steps_does_not_show_that_longer_is_better(kind):
    rows = [*one(), *networks(lambda where, name: jumping if where == kind else falling)]
    assert not_holding(rows) == dict.fromkeys(OWN[kind], "fails")


def test_the_first_layer_of_images_does_not_count():
    assert not not_holding([*one(), *networks(lambda kind, name: rising if "blocks.0" in name else falling)])


def test_a_loss_that_is_high_but_falls_does_not_hover():
    found = not_holding([*one(), *networks(hovering=lambda done: 1 / (1 + 100 * done))])
    assert found == {"the_loss_stabilises": "fails"}


@pytest.mark.parametrize(
    ("wrong", "claim"),
    [
        ({"off": lambda rate: 0.1 if rate > 1 else 0.0}, 0),
        ({"off": lambda rate: 1e-6 if rate < 1 else 0.0}, 0),
        ({"period": lambda rate: 2}, 1),
        ({"period": lambda rate: 4}, 1),
        ({"edge": 1.9}, 1),
        ({"edge": 2.1}, 1),
    ],
)
def test_another_level_period_or_edge_fails(wrong, claim):
    found = [verdict.outcome for verdict in judge_all(CLAIMS, [*one(**wrong), *networks()])]
    assert found[claim] == "fails"
    assert found[1 - claim] == "holds"


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_diverged_run_leaves_the_claims_about_its_network_open(kind):
    lost = {"task": kind, "phase": 0.3, "seed": 1}
    found = not_holding([*one(), *networks(diverged=lambda row: lost.items() <= row.items())])
    more = ["the_loss_stabilises", "by_much"] if kind == DIAGONAL else []
    assert found == dict.fromkeys([*OWN[kind], *more], "inconclusive")


def test_without_networks_their_claims_say_so():
    assert list(verdicts(one()).values()) == ["holds", "holds", *["inconclusive"] * 10]


def test_where_all_runs_diverged_the_page_is_drawn_all_the_same():
    rows = [*one(), *networks(diverged=lambda row: True)]
    assert len(figures(TINY, rows)) == 6
    assert [len(table.rows) for table in tables(TINY, rows)[:4]] == [len(PHASES)] * 4


def test_tables_have_a_line_for_every_share_and_a_column_for_every_layer():
    three = next(table for table in tables(TINY, [*one(), *networks()]) if "three layers" in table.title)
    assert [row[0] for row in three.rows] == list(PHASES)
    assert three.columns[-3:] == ("in use, layer 1", "in use, layer 2", "rank of the Jacobian")


def test_all_that_has_a_closed_form_is_compared_with_it():
    for rate in SETTLING:
        assert stabilised_loss(rate) >= 0
    assert set(SETTLING) == {rate for rate in RATES if rate < math.sqrt(5) - 1}


@pytest.mark.parametrize("kind", [DIAGONAL, TWO, THREE])
def test_every_row_has_a_loss_or_says_that_it_diverged(kind, tmp_path):
    rows = run(TINY, {"task": kind}, Context("cpu", tmp_path, lambda share: None))
    assert {row["final"] for row in rows} == {True, False}
    assert {(row["phase"], row["seed"]) for row in rows} == {(p, s) for p in PHASES for s in range(TINY.seeds)}
    assert all(row["diverged"] or math.isfinite(row["train_loss"]) for row in rows)


def test_images_are_trained_a_seed_at_a_time():
    assert [cell for cell in cells(Config(seeds=3)) if cell["task"] == IMAGES] == [
        {"task": IMAGES, "seed": seed} for seed in range(3)
    ]


def test_a_network_with_too_wide_a_layer_is_refused_before_anything_is_run():
    with pytest.raises(ValueError, match="layers of at most 4096 units"):
        check(Config(model="conv:widths=(300,8)"))


def test_the_paper_settings_take_its_number_of_steps_and_its_images():
    assert (PAPER.diagonal.steps, PAPER.data, PAPER.epochs, PAPER.batch) == (100_000, "cifar10", 100, 256)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"settling": 10}, "settling must be at least 100, got 10"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Config(**wrong)
