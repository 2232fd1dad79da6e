import pytest
import torch

from lowland.data.augment import Augment
from lowland.data.batches import Batches, in_order
from lowland.data.dataset import Split


def batches(n=23, size=5, seed=0, **settings):
    return Batches(Split(torch.randn(n, 2, 6, 6), torch.arange(n)), size, seed=seed, **settings)


@pytest.mark.parametrize("start", range(6))
def test_an_epoch_resumed_anywhere_is_the_same_bit_for_bit(start):
    loader = batches(augment=Augment(padding=2))
    rest, whole = list(loader.epoch(3, start)), list(loader.epoch(3))[start:]
    assert len(rest) == len(whole)
    assert all(a.equal(c) and b.equal(d) for (a, b), (c, d) in zip(rest, whole, strict=True))


def test_every_epoch_shows_every_example_once():
    labels = torch.cat([y for _, y in batches().epoch(4)])
    assert labels.sort().values.tolist() == list(range(23))


def test_images_stay_with_their_labels():
    loader = batches()
    assert all(x.equal(loader.split.x[y]) for x, y in loader.epoch(1))


def test_epochs_and_seeds_differ_in_order():
    def first(k, seed):
        return next(batches(seed=seed).epoch(k))[1].tolist()

    assert first(0, 0) != first(1, 0) != first(1, 1)
    assert first(0, 0) == first(0, 0)


def test_drawing_batches_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    list(Batches(Split(torch.zeros(9, 1, 4, 4), torch.arange(9)), 2, seed=0, augment=Augment()).epoch(0))
    assert torch.get_rng_state().equal(before)


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [5, 5, 5, 5, 3]), (True, [5, 5, 5, 5])])
def test_a_small_last_batch_can_be_left_out(drop_last, sizes):
    loader = batches(drop_last=drop_last)
    assert [len(y) for _, y in loader.epoch(0)] == sizes
    assert len(loader) == len(sizes)


def test_augmentation_changes_images_but_not_order():
    plain, augmented = batches(), batches(augment=Augment(padding=2))
    (x, y), (z, t) = next(plain.epoch(0)), next(augmented.epoch(0))
    assert y.equal(t)
    assert not x.equal(z)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: batches(size=0), "size must be at least 1, got 0"),
        (lambda: batches(size=24, drop_last=True), "size must be at most 23.*no batch would be left"),
        (lambda: batches().epoch(-1), "k must be at least 0, got -1"),
        (lambda: batches().epoch(0, start=6), "start must be at most 5, the batches of an epoch, got 6"),
        (lambda: in_order(batches().split, 0), "size must be at least 1, got 0"),
    ],
)
def test_bad_numbers_are_refused_by_words(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_in_order_can_be_iterated_again_and_keeps_the_order():
    loader = in_order(batches().split, 10)
    for _ in range(2):
        assert torch.cat([y for _, y in loader]).tolist() == list(range(23))
    assert len(loader) == len(list(loader)) == 3
