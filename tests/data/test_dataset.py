import pytest
import torch

from lowland.data.dataset import Dataset, Split


def split(n=6):
    return Split(torch.arange(float(n)).view(n, 1, 1, 1), torch.arange(n) % 3)


def test_a_smaller_take_lies_inside_a_larger_one():
    torch.testing.assert_close(split().take(5).take(2).x, split().take(2).x)


def test_take_shares_memory_with_the_split():
    whole = split()
    assert whole.take(3).x.data_ptr() == whole.x.data_ptr()


def test_taking_more_than_there_is_is_refused_by_words():
    with pytest.raises(ValueError, match="n must be at most 6, the examples there are, got 7"):
        split().take(7)


def test_taking_nothing_is_refused_by_words():
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        split().take(0)


def test_images_and_labels_must_be_equally_many():
    with pytest.raises(ValueError, match=r"same number of examples.*got shapes \(2, 1, 8, 8\) and \(3,\)"):
        Split(torch.zeros(2, 1, 8, 8), torch.zeros(3, dtype=torch.long))


def test_an_empty_split_is_refused_by_words():
    with pytest.raises(ValueError, match="at least one, got shapes"):
        Split(torch.zeros(0, 1, 8, 8), torch.zeros(0, dtype=torch.long))


def test_a_data_set_moves_whole():
    data = Dataset(name="x", train=split(), test=split(3), classes=("a", "b", "c"), source="test").to("meta")
    assert data.shape == (1, 1, 1)
    assert {data.train.x.device.type, data.train.y.device.type, data.test.x.device.type} == {"meta"}
