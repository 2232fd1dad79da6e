import numpy as np
import pytest

from lowland.data.human import HumanLabels

LABELS = np.array([3, 1, 2], dtype=np.uint8)


@pytest.fixture
def human(sha):
    return HumanLabels(
        name="cifar10",
        files=("packed/labels.npz", "official/CIFAR.npy"),
        arrays={"worse": ("worse_label",)},
        digests={"worse": sha(LABELS)},
    )


def test_labels_are_read_from_whichever_file_is_there(human, folder):
    (folder / "official").mkdir()
    np.save(folder / "official" / "CIFAR.npy", {"worse_label": LABELS.astype(np.int64)})
    np.testing.assert_array_equal(human.read("worse"), LABELS)


def test_missing_labels_are_refused_by_words(human, folder):
    with pytest.raises(
        FileNotFoundError, match=r"its human labels were not found in .*labels.npz.*lowland data fetch cifar10"
    ):
        human.read("worse")
