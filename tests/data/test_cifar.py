import hashlib
import pickle

import numpy as np
import pytest
from PIL import Image

from lowland.data.cifar import CifarFiles, Pickles, Sheets

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
LABELS = {"train": np.arange(4, dtype=np.uint8), "test": np.arange(4, dtype=np.uint8)[::-1].copy()}
PARTS = {"train": IMAGES[:4], "test": IMAGES[4:]}


def pickled(part):
    data = PARTS[part].transpose(0, 3, 1, 2).reshape(4, 3072)
    return pickle.dumps({b"data": data, b"labels": LABELS[part].tolist()}, protocol=2)


@pytest.fixture
def files(sha):
    sheets = {part: {f"{part}.webp": sha(PARTS[part])} for part in PARTS}
    pickles = {part: {f"{part}_batch": hashlib.md5(pickled(part)).hexdigest()} for part in PARTS}
    digests = {part: sha(LABELS[part]) for part in PARTS}
    return CifarFiles(
        name="tiny",
        sheets=Sheets(folder="tiny", labels="labels.npz", digests=digests, **sheets),
        pickles=Pickles(folder="tiny-py", **pickles),
    )


def put_sheets(folder):
    (folder / "tiny").mkdir()
    np.savez(folder / "tiny" / "labels.npz", **LABELS)
    for part, images in PARTS.items():
        Image.fromarray(np.concatenate(list(images))).save(folder / "tiny" / f"{part}.webp", lossless=True)


def put_pickles(folder):
    (folder / "tiny-py").mkdir()
    for part in PARTS:
        (folder / "tiny-py" / f"{part}_batch").write_bytes(pickled(part))


@pytest.mark.parametrize(("put", "count"), [(put_sheets, 4), (put_pickles, None)])
def test_both_layouts_give_the_same_images_and_labels(files, folder, put, count):
    put(folder)
    raw = files.read(count, "", "labels")
    np.testing.assert_array_equal(raw.train.x.numpy(), IMAGES[:4])
    np.testing.assert_array_equal(raw.test.x.numpy(), IMAGES[4:])
    assert (raw.train.y.tolist(), raw.test.y.tolist()) == ([0, 1, 2, 3], [3, 2, 1, 0])


def test_a_layout_that_holds_enough_is_preferred(files, folder):
    put_sheets(folder)
    put_pickles(folder)
    assert files.read(4, "", "labels").source == "packed sheets"
    assert files.read(None, "", "labels").source == "official pickles"


def test_asking_for_more_than_the_sheets_hold_is_refused_by_words(files, folder):
    put_sheets(folder)
    with pytest.raises(
        FileNotFoundError, match=r"tiny: train must be at most 10000 .*got 50000. Write tiny:train=10000, or"
    ):
        files.read(None, "", "labels")


def test_a_set_without_files_is_refused_by_words(files, folder):
    with pytest.raises(FileNotFoundError, match="tiny must be on this machine, but its files were not found in"):
        files.read(4, "", "labels")


def test_a_damaged_pickle_is_refused_by_words(files, folder):
    put_pickles(folder)
    (folder / "tiny-py" / "train_batch").write_bytes(pickled("train")[:-9])
    with pytest.raises(ValueError, match="train_batch is damaged: its content must have digest"):
        files.read(None, "", "labels")


def test_a_pickle_without_the_labels_is_refused_by_words(files, folder):
    put_pickles(folder)
    with pytest.raises(ValueError, match="train_batch is damaged: it does not hold images with fine_labels"):
        files.read(None, "", "fine_labels")


def test_what_is_there_is_counted(files, folder):
    assert files.held() == 0
    put_sheets(folder)
    assert files.held() == 10_000
    put_pickles(folder)
    assert files.held() == 50_000
