import pytest

from lowland.data.sets.mnist import MNIST


def test_without_files_the_sentence_says_what_to_do():
    with pytest.raises(FileNotFoundError, match="Run `lowland data fetch mnist`, or set LOWLAND_DATA"):
        MNIST().load()


def test_the_official_images_are_read(real_data):
    data = MNIST().load()
    assert (len(data.train), len(data.test)) == (60_000, 10_000)
    assert data.train.y[:5].tolist() == [5, 0, 4, 1, 9]
    assert (data.mean[0] / 255, data.sd[0] / 255) == (
        pytest.approx(0.1307, abs=1e-4),
        pytest.approx(0.3081, abs=1e-4),
    )
