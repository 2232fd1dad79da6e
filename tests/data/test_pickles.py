import codecs
import hashlib
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from lowland.data.pickles import read_object, read_pickle

DATA = np.arange(12, dtype=np.uint8).reshape(2, 6)


def text(value):
    return b"U" + bytes([len(value)]) + value


def python2_pickle(array, labels):
    """What Python 2 wrote for ``{"labels": labels, "data": array}``: names and contents are byte strings."""
    whole = b"".join(b"K" + bytes([label]) for label in labels)
    shape = b"".join(b"M" + struct.pack("<H", side) for side in array.shape)
    dtype = (
        b"cnumpy\ndtype\n"
        + text(b"u1")
        + b"K\x00K\x01\x87R(K\x03"
        + text(b"|")
        + b"NNN"
        + 2 * b"J\xff\xff\xff\xff"
        + b"K\x00tb"
    )
    state = (
        b"(K\x01" + shape + b"\x86" + dtype + b"\x89T" + struct.pack("<I", array.size) + array.tobytes() + b"tb"
    )
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
    return b"\x80\x02}(" + text(b"labels") + b"](" + whole + b"e" + text(b"data") + made + state + b"u."


class Attack:
    def __reduce__(self):
        return os.mkdir, ("attacked",)


def test_a_pickle_of_python_2_is_read(tmp_path):
    path = tmp_path / "batch"
    path.write_bytes(python2_pickle(DATA, [3, 1]))
    content = read_pickle(path, hashlib.md5(path.read_bytes()).hexdigest())
    np.testing.assert_array_equal(content[b"data"], DATA)
    assert content[b"labels"] == [3, 1]


def test_a_pickle_that_would_run_something_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("batch").write_bytes(pickle.dumps({"data": Attack()}, protocol=2))
    with pytest.raises(ValueError, match=r"batch is damaged.*mkdir is not allowed in a data file"):
        read_pickle(Path("batch"), "")
    assert not Path("attacked").exists()


def test_a_wrong_digest_is_refused_before_anything_is_read(tmp_path):
    (tmp_path / "batch").write_bytes(pickle.dumps({}))
    with pytest.raises(ValueError, match=f"its content must have digest {'0' * 32}, got"):
        read_pickle(tmp_path / "batch", "0" * 32)


@pytest.mark.parametrize("content", [b"", b"hello", python2_pickle(DATA, [3, 1])[:60]])
def test_what_is_no_whole_pickle_is_refused_by_words(tmp_path, content):
    (tmp_path / "batch").write_bytes(content)
    with pytest.raises(ValueError, match="batch is damaged: it cannot be decoded"):
        read_pickle(tmp_path / "batch", "")


@pytest.mark.parametrize(
    ("ending", "save"),
    [(".npy", lambda p, d: np.save(p, d, allow_pickle=True)), (".pt", lambda p, d: torch.save(d, p))],
)
def test_a_saved_dictionary_of_arrays_is_read(tmp_path, ending, save):
    path = tmp_path / f"labels{ending}"
    save(path, {"noisy_label": DATA})
    np.testing.assert_array_equal(read_object(path)["noisy_label"], DATA)


@pytest.mark.parametrize("ending", [".npy", ".pt"])
def test_a_damaged_dictionary_is_refused_by_words(tmp_path, ending):
    path = tmp_path / f"labels{ending}"
    path.write_bytes(b"hello")
    with pytest.raises(ValueError, match="is damaged: it cannot be decoded"):
        read_object(path)


def test_text_that_python_3_wrote_as_bytes_is_read(tmp_path):
    (tmp_path / "batch").write_bytes(pickle.dumps({codecs.encode("data", "latin1"): DATA}, protocol=2))
    np.testing.assert_array_equal(read_pickle(tmp_path / "batch", "")[b"data"], DATA)
