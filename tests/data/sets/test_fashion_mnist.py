import lzma
import shutil
from pathlib import Path

import pytest

from lowland.data.sets.fashion_mnist import FashionMNIST


def test_without_files_the_sentence_says_what_to_do():
    with pytest.raises(FileNotFoundError, match="Run `lowland data fetch fashion-mnist`, or set LOWLAND_DATA"):
        FashionMNIST().load()


def test_the_official_images_are_read(real_data):
    data = FashionMNIST(train=6000, test=2000).load()
    assert (len(data.train), len(data.test), data.shape) == (6000, 2000, (1, 28, 28))
    assert data.train.y[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
    assert data.mean == pytest.approx((72.8466,), abs=1e-3)


def test_images_unpacked_in_torchvisions_folder_are_the_same(real_data, folder):
    target = folder / "FashionMNIST" / "raw"
    target.mkdir(parents=True)
    for file in Path(real_data, "fashion-mnist").glob("*.xz"):
        (target / file.stem).write_bytes(lzma.decompress(file.read_bytes()))
    assert FashionMNIST.where() == target
    assert FashionMNIST(train=100).load().train.y[:5].tolist() == [9, 0, 0, 3, 0]


def test_a_truncated_official_file_is_refused_by_words(real_data, folder):
    shutil.copytree(Path(real_data, "fashion-mnist"), folder / "fashion-mnist", copy_function=shutil.copyfile)
    labels = folder / "fashion-mnist" / "t10k-labels-idx1-ubyte.xz"
    labels.write_bytes(labels.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"t10k-labels-idx1-ubyte\.xz is damaged"):
        FashionMNIST().load()
