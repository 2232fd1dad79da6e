import pytest

from lowland.experiments.images import Images
from lowland.experiments.scores import score_run
from lowland.experiments.training import Training, check_training, load_images, training_run
from lowland.runs.context import Context

SETTINGS = Training(train=120, epochs=3, model="conv:widths=(4,4)")


def context(folder):
    return Context("cpu", folder, lambda share: None)


def rows(method, folder, due, settings=SETTINGS):
    look = lambda model, data, final: {"images": len(data.train), "over": final}  # noqa: E731
    return training_run(settings, settings.recipe(method), {"seed": 0}, context(folder), look, due)


def test_there_is_a_row_for_every_epoch_that_is_due_and_the_last_is_final(tmp_path):
    found = rows("sgd", tmp_path, {1, 3})
    assert [(row["epoch"], row["final"], row["over"], row["images"]) for row in found] == [
        (1, False, False, 120),
        (3, True, True, 120),
    ]


def test_cost_counts_passes_of_all_epochs_and_forwards_as_a_third(tmp_path):
    assert rows("sam:rho=0.1", tmp_path / "a", {3})[0]["cost"] == 2
    assert rows("k_sam:share=0.5", tmp_path / "b", {3})[0]["cost"] == pytest.approx(1 + 1 / 3)
    every = rows("every:k=3,method=sam:rho=0.1", tmp_path / "c", {1, 2, 3})  # steps 0 and 1, 2 and 3, 4 and 5
    assert [row["cost"] for row in every] == [1.5, 1.5, pytest.approx(4 / 3)]


def test_a_run_that_diverges_says_so_and_is_not_looked_at(tmp_path):
    wild = Training(train=120, epochs=3, model="mlp:widths=(8,)", learning_rate=1e30, weight_decay=0.0)
    (row,) = rows("sgd", tmp_path, {3}, wild)
    assert row["diverged"]
    assert row["final"]
    assert "images" not in row


def test_seconds_of_training_and_of_looking_are_apart(tmp_path):
    place = context(tmp_path)
    score_run(SETTINGS, SETTINGS.recipe("sgd"), {"seed": 0}, place)
    assert set(place.timings) == {"training", "measuring", "processor"}
    assert min(place.timings.values()) > 0


def test_scores_are_errors_in_percent_losses_and_calibration(tmp_path):
    (row,) = score_run(SETTINGS, SETTINGS.recipe("sgd"), {"method": "sgd", "seed": 0}, context(tmp_path))
    scores = {f"{split}_{score}" for split in ("train", "test") for score in ("error", "loss", "ece")}
    assert scores <= row.keys()
    assert 0 <= row["train_error"] <= 100
    assert (row["method"], row["final"], row["classes"]) == ("sgd", True, 10)


def test_the_data_is_checked_and_given():
    assert len(check_training(SETTINGS, ["sgd", "sam:rho=0.1"]).train) == 120
    with pytest.raises(LookupError, match="no method called 'samm'"):
        check_training(SETTINGS, ["samm"])


def test_a_spec_may_say_its_own_number_of_images():
    assert len(load_images("digits:train=50", 120).train) == 50


@pytest.mark.parametrize("name", ["train", "epochs", "batch"])
def test_bad_settings_are_refused_by_words(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        Training(**{name: 0})


def test_settings_of_looks_are_refused_by_words():
    with pytest.raises(ValueError, match="looks must be at least 1, got 0"):
        Images(looks=0)
