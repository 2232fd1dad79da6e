import gzip
import lzma

import numpy as np
import pytest

from lowland.data.idx import IdxFiles, read_idx

IMAGES = np.random.default_rng(0).integers(0, 256, (30, 5, 4), dtype=np.uint8)
LABELS = np.arange(30, dtype=np.uint8) % 3
PACKERS = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}


@pytest.fixture(params=PACKERS)
def packed(request, tmp_path, idx):
    path = tmp_path / f"images-idx3-ubyte{request.param}"
    path.write_bytes(PACKERS[request.param](idx(IMAGES)))
    return path


def test_the_array_comes_back_however_it_is_packed(packed, idx, sha):
    np.testing.assert_array_equal(read_idx(packed, sha(idx(IMAGES))), IMAGES)


def test_a_truncated_file_is_refused_by_words(packed, idx, sha):
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"images-idx3-ubyte.* is damaged: .*Delete it and fetch it again"):
        read_idx(packed, sha(idx(IMAGES)))


def test_a_flipped_bit_is_refused_by_words(packed, idx, sha):
    content = bytearray(packed.read_bytes())
    content[len(content) // 2] ^= 1
    packed.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged"):
        read_idx(packed, sha(idx(IMAGES)))


def test_another_kind_of_file_is_refused_by_words(tmp_path, sha):
    (tmp_path / "a").write_bytes(b"hello")
    with pytest.raises(ValueError, match="a is damaged: it is no idx file of unsigned bytes"):
        read_idx(tmp_path / "a", sha(b"hello"))


@pytest.fixture
def files(idx, sha):
    names = ("train-images", "train-labels", "test-images", "test-labels")
    arrays = (IMAGES, LABELS, IMAGES[:9], LABELS[:9])
    contents = {name: idx(array) for name, array in zip(names, arrays, strict=True)}
    digests = {name: sha(content) for name, content in contents.items()}
    return IdxFiles(name="tiny", folders=("tiny", "Tiny/raw"), digests=digests), contents


@pytest.mark.parametrize("place", ["tiny", "Tiny/raw"])
def test_a_set_is_read_from_any_of_its_layouts(files, folder, place):
    (folder / place).mkdir(parents=True)
    for (name, content), end in zip(files[1].items(), ["", ".gz", ".xz", ".gz"], strict=True):
        (folder / place / f"{name}{end}").write_bytes(PACKERS[end](content))
    raw = files[0].read()
    assert (raw.train.x.shape, raw.test.x.shape) == ((30, 5, 4, 1), (9, 5, 4, 1))
    assert raw.train.y.tolist() == LABELS.tolist()


def test_a_set_without_files_is_refused_by_words(files, folder):
    with pytest.raises(
        FileNotFoundError, match=r"tiny must be on this machine, but its files were not found in .*Tiny/raw"
    ):
        files[0].read()
