import math
import random

import pytest

from lowland.report.claim import judge_all
from lowland.studies.irrelevant_pixels_are_forgotten import ARMS, CLAIMS, TINY, Config, cells, check

CONFIG = Config(seeds=4)


def as_published(arm, batch):
    """Small batches forget the border, large ones less, and who memorises keeps it."""
    return 1.1 if "memorising" in arm else 0.2 if batch == CONFIG.small else 0.8


def invented(border, diverged=lambda cell, seed: False):
    chance, found = random.Random(0), []
    for cell in cells(CONFIG):
        for seed in range(CONFIG.seeds):
            size = border(cell["arm"], cell["batch"]) * (1 + chance.gauss(0, 0.01))
            facts = {"final": True, "step": CONFIG.steps, "diverged": diverged(cell, seed)}
            found.append({**cell, **facts, "seed": seed, "border": size, "log": math.log(size)})
    return found


def verdicts(rows):
    return {verdict.claim.id: verdict.outcome for verdict in judge_all(CLAIMS, rows)}


def test_all_claims_hold_where_small_batches_forget():
    assert set(verdicts(invented(as_published)).values()) == {"holds"}


def test_all_claims_fail_where_large_ones_do():
    found = verdicts(invented(lambda arm, batch: 0.2 if "memorising" in arm or batch == CONFIG.large else 0.8))
    assert set(found.values()) == {"fails"}


def test_every_network_must_forget():
    found = verdicts(
        invented(lambda arm, batch: 0.7 if arm == "ReLU, cross-entropy" else as_published(arm, batch))
    )
    assert found["relu_networks_forget_the_border"] == "fails"
    assert found["linear_networks_forget_the_border"] == "holds"


def test_a_diverged_run_raises_a_doubt_where_it_counts():
    found = verdicts(
        invented(as_published, lambda cell, seed: cell == {"arm": "linear", "batch": 8} and seed == 0)
    )
    assert found["linear_networks_forget_the_border"] == "inconclusive"
    assert found["small_batches_forget_more"] == "inconclusive"
    assert found["memorising_keeps_the_border"] == "holds"


def test_who_memorises_is_shown_fixed_borders_and_wrong_labels():
    shown = {name: CONFIG.task(arm).images for name, arm in ARMS.items()}
    assert {name for name, images in shown.items() if images.kept} == {n for n in ARMS if "memorising" in n}
    assert all((images.wrong > 0) == images.kept for images in shown.values())


def test_memorising_is_done_with_small_batches():
    assert [cell["batch"] for cell in cells(CONFIG) if "memorising" in cell["arm"]] == [8, 8]


def test_the_smallest_setting_passes_the_door():
    check(TINY)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"large": 8}, "large must be at least 9, got 8"),
        ({"steps": 10}, "steps must be at least 20, got 10"),
        ({"wrong": 0.0}, r"wrong must be in \(0, 1\), got 0.0"),
        ({"noise": 0.0}, "noise must be above 0, got 0"),
        ({"border": 0}, "border must be at least 1, got 0"),
        ({"learning_rate": -1.0}, "learning_rate must be a finite number >= 0, got -1.0"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Config(**wrong)
