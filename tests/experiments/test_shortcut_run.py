import pytest

from lowland.experiments.shortcut_run import Planted, shortcut_run
from lowland.experiments.training import load_images
from lowland.runs.context import Context
from lowland.train.parts import Parts

SETTINGS = Planted(train=120, epochs=2, model="mlp:widths=(8,)")


def ran(folder, settings=SETTINGS, method="sgd", seed=0):
    context = Context("cpu", folder, lambda share: None)
    return shortcut_run(settings, settings.recipe(method), Parts(), seed, context)


def test_training_patches_follow_the_seed_and_test_patches_always_mislead():
    test = load_images("digits", 600).test
    one, other, again = (SETTINGS.planted(test, 10, 0.9, seed=seed).x for seed in (1, 2, 1))
    assert one.equal(again)
    assert not one.equal(other)
    right = SETTINGS.planted(test, 10, 1.0).x
    assert not (SETTINGS.planted(test, 10, 0.0).x == right).flatten(1).all(1).any()


def test_a_network_is_looked_at_with_patches_and_without(tmp_path):
    row = ran(tmp_path)
    assert row["rise"] == row["conflict_error"] - row["clean_error"]
    assert 0.1 < row["confidence"] <= 1
    assert row["passes"] == 1
    assert all(0 <= row[f"{split}_error"] <= 100 for split in ("train", "agree", "conflict", "clean"))


def test_the_seed_decides_all(tmp_path):
    assert ran(tmp_path / "a", seed=3) == ran(tmp_path / "b", seed=3) != ran(tmp_path / "c", seed=4)


def test_a_network_that_diverges_says_only_so(tmp_path):
    assert ran(tmp_path, Planted(train=120, epochs=2, learning_rate=1e20, model="mlp:widths=(8,)")) == {
        "diverged": True
    }


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"agreement": 1.0}, r"agreement must be in \(0, 1\), got 1.0"),
        ({"kind": "hue"}, "kind must be one of place, shade, got 'hue'"),
        ({"augment": True}, "augment must be False, got True: crops and flips would move the patches"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Planted(**wrong)
