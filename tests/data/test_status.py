import pytest

from lowland.data.status import status, verify


def test_every_set_is_listed_and_only_digits_is_found_without_files():
    found = {s.name: s.where for s in status()}
    assert found == dict.fromkeys(("cifar10", "cifar100", "fashion-mnist", "mnist")) | {
        "digits": "comes with scikit-learn"
    }


def test_a_set_whose_files_are_there_is_found(folder):
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    (folder / "MNIST/raw").mkdir(parents=True)
    for name in names:
        (folder / "MNIST/raw" / f"{name}-ubyte.gz").touch()
    mnist = next(s for s in status() if s.name == "mnist")
    assert (mnist.where, mnist.held, mnist.train) == (folder / "MNIST/raw", 60_000, 60_000)


def test_digits_are_intact():
    assert verify("digits") == "digits: 1201 training and 596 test images are intact (scikit-learn)."


def test_verifying_an_unknown_set_names_the_nearest():
    with pytest.raises(LookupError, match=r"no data set called 'fashon-mnist'. Did you mean fashion_mnist"):
        verify("fashon-mnist")


def test_verifying_a_set_without_files_is_refused_by_words():
    with pytest.raises(FileNotFoundError, match="cifar10 must be on this machine"):
        verify("cifar10")
