import pytest

from lowland.data.sets.cifar100 import CIFAR100


@pytest.mark.parametrize(("field", "value"), [("labels", "worse"), ("level", "middle")])
def test_unknown_choices_are_refused_by_words(field, value):
    with pytest.raises(ValueError, match=f"{field} must be one of .*got '{value}'"):
        CIFAR100(**{field: value})


@pytest.mark.parametrize(("level", "count"), [("fine", 100), ("coarse", 20)])
def test_there_are_a_hundred_classes_in_twenty_groups(level, count):
    assert len(set(CIFAR100(level=level).classes)) == count


def test_the_packed_images_are_read(real_data):
    data = CIFAR100(train=10_000, test=1000).load()
    assert (len(data.train), len(data.test), len(data.classes)) == (10_000, 1000, 100)
    assert [data.classes[y] for y in data.train.y[:3]] == ["cattle", "dinosaur", "apple"]


def test_more_than_the_packed_files_hold_is_refused_by_words(real_data):
    with pytest.raises(
        FileNotFoundError, match="Write cifar100:train=10000, or run `lowland data fetch cifar100`"
    ):
        CIFAR100().load()


def test_peoples_labels_of_the_groups_are_read(real_data):
    clean, noisy = (
        CIFAR100(train=10_000, test=1000, level="coarse", labels=kind).load() for kind in ("clean", "noisy")
    )
    assert (clean.train.y != noisy.train.y).double().mean() == pytest.approx(0.26404, abs=0.02)
