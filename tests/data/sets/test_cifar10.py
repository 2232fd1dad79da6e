import pytest
import torch

from lowland.data.arrays import read_array
from lowland.data.sets.cifar10 import CIFAR10, FILES, HUMAN

RATES = {"aggre": 0.0901, "worse": 0.40208, "random1": 0.17234, "random2": 0.18122, "random3": 0.1764}


@pytest.mark.parametrize(("field", "value"), [("labels", "worst"), ("test_labels", "human")])
def test_unknown_labels_are_refused_by_words(field, value):
    with pytest.raises(ValueError, match=f"{field} must be one of clean, .*got '{value}'"):
        CIFAR10(**{field: value})


def test_without_files_the_sentence_says_what_to_do():
    with pytest.raises(FileNotFoundError, match="Run `lowland data fetch cifar10`, or set LOWLAND_DATA"):
        CIFAR10().load()


def test_only_as_many_sheets_are_read_as_are_needed(real_data):
    data = CIFAR10(train=5000, test=1000).load()
    assert (len(data.train), len(data.test), data.shape) == (5000, 1000, (3, 32, 32))
    assert [data.classes[y] for y in data.train.y[:4]] == ["frog", "truck", "truck", "deer"]


def test_peoples_votes_decide_the_test_labels(real_data):
    clean, votes = CIFAR10(train=1000).load().test.y, CIFAR10(train=1000, test_labels="votes").load().test.y
    assert (clean != votes).double().mean() == pytest.approx(0.0079)
    assert CIFAR10().votes().sum(1).min() == 47


def test_the_long_tail_has_the_published_counts(real_data):
    y = CIFAR10(long_tail=100.0, test=1000).load().train.y
    assert y.bincount().tolist() == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


def test_human_labels_differ_as_often_as_published(real_data):
    clean = read_array(FILES.where() / "cifar10_labels.npz", ("train",), FILES.sheets.digests["train"])
    rates = {kind: float((HUMAN.read(kind) != clean).mean()) for kind in RATES}
    assert rates == pytest.approx(RATES)


def test_human_labels_replace_the_training_labels_only(real_data):
    clean, human = (CIFAR10(train=2000, test=1000, labels=kind).load() for kind in ("clean", "worse"))
    assert 0.35 < (clean.train.y != human.train.y).double().mean() < 0.45
    assert clean.test.y.equal(human.test.y)
    torch.testing.assert_close(clean.train.x, human.train.x, rtol=0, atol=0)
