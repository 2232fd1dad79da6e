import json
from dataclasses import replace

import pytest
import torch

from lowland.experiments.image_text import ImageTexts, check_image_texts, image_text_run, info_nce, sites
from lowland.runs.context import Context

SETTINGS = ImageTexts(
    data="shapes:side=8,length=4,concepts=64", stem=(8,), depth=1, width=16, outputs=16, epochs=2, gallery=32
)


def run(settings, folder, rho=0.0):
    (row,) = image_text_run(settings, {"rho": rho, "seed": 0}, Context("cpu", folder, lambda share: None))
    return row


def test_the_loss_is_the_mean_of_finding_the_text_and_finding_the_image():
    z = torch.randn(5, 5, dtype=torch.float64)
    rows, columns = (one.log_softmax(1).diagonal().mean() for one in (z, z.T))
    torch.testing.assert_close(info_nce(z, torch.zeros(5)), -(rows + columns) / 2, rtol=1e-9, atol=1e-12)


def test_a_run_ends_in_errors_and_ranks_of_every_site(tmp_path):
    row = run(SETTINGS, tmp_path)
    assert {f"rank/{name}" for name in sites(SETTINGS)} <= row.keys()
    assert {
        "image_error",
        "text_error",
        "train_error",
        "weight_rank",
        "weight_rank_before",
        "density/GELU",
    } <= row.keys()
    assert (row["classes"], row["final"], row["diverged"]) == (32, True, False)


def test_ranks_are_bounded_by_the_widths(tmp_path):
    row = run(SETTINGS, tmp_path)
    assert 1 <= row["rank/image head"] <= 16
    assert 1 <= row["rank/GELU"] <= 31


def test_pairs_are_learnt(tmp_path):
    row = run(replace(SETTINGS, epochs=40, batch=16, learning_rate=5e-3), tmp_path)
    assert row["train_error"] < 50 < 100 * (1 - 1 / 32)


def test_sam_takes_two_passes_and_the_same_seed_gives_the_same_row(tmp_path):
    first, again = (run(SETTINGS, tmp_path / name, rho=0.1) for name in "ab")
    assert first["passes"] == 2
    assert json.dumps(first) == json.dumps(again)


def test_a_run_that_diverges_says_so(tmp_path):
    row = run(replace(SETTINGS, learning_rate=1e30), tmp_path)
    assert (row["diverged"], row["final"], "image_error" in row) == (True, True, False)


def test_missing_data_are_refused_by_words():
    with pytest.raises(FileNotFoundError, match="emoji must be on this machine"):
        check_image_texts(ImageTexts())
    with pytest.raises(LookupError, match=r"called 'emojis'. Did you mean emoji"):
        ImageTexts(data="emojis")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"batch": 1}, "batch must be at least 2, got 1"),
        ({"gallery": 1}, "gallery must be at least 2, got 1"),
        ({"rhos": (0.1, 0.2, 0.3)}, r"rhos must ascend from 0 and be at least three, got \(0.1"),
        ({"rhos": (0.0, -0.1, 0.3)}, "rhos must be a finite number >= 0, got -0.1"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        ImageTexts(**wrong)
