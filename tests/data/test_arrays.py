import numpy as np
import pytest

from lowland.data.arrays import read_array

LABELS = np.array([3, 1, 2], dtype=np.uint8)


def save(path, kind):
    if kind == "npz":
        np.savez(path, worse_label=LABELS)
    else:
        np.save(path, {"worse_label": LABELS.astype(np.int64)} if kind == "object" else LABELS.astype(np.int64))


@pytest.mark.parametrize("kind", ["npz", "object", "plain"])
def test_labels_are_the_same_whatever_file_they_lie_in(tmp_path, sha, kind):
    path = tmp_path / f"labels.{'npz' if kind == 'npz' else 'npy'}"
    save(path, kind)
    np.testing.assert_array_equal(read_array(path, ("worse_label",), sha(LABELS)), LABELS)


def test_a_missing_array_is_refused_by_words(tmp_path, sha):
    save(tmp_path / "labels.npz", "npz")
    with pytest.raises(ValueError, match=r"labels.npz is damaged: it has no array called aggre_label or a"):
        read_array(tmp_path / "labels.npz", ("aggre_label", "a"), sha(LABELS))


def test_other_labels_are_refused_by_words(tmp_path, sha):
    save(tmp_path / "labels.npz", "npz")
    with pytest.raises(ValueError, match="its array worse_label must have digest"):
        read_array(tmp_path / "labels.npz", ("worse_label",), sha(LABELS + 1))


def test_a_truncated_file_is_refused_by_words(tmp_path, sha):
    save(tmp_path / "labels.npz", "npz")
    (tmp_path / "labels.npz").write_bytes((tmp_path / "labels.npz").read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"labels.npz is damaged: it cannot be decoded"):
        read_array(tmp_path / "labels.npz", ("worse_label",), sha(LABELS))
