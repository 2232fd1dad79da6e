from itertools import islice

import pytest
import torch

from lowland.experiments.bordered_images import BorderedImages
from lowland.seeds import generator

IMAGES = BorderedImages(data="digits", train=40, border=2, noise=0.5)


def borders(images, steps=8):
    """What stands around each image over some steps, with the label it is shown with."""
    train, _, _ = images.splits("cpu")
    pairs = islice(images.shown(4, train, [0, 1]), steps)
    mask = images.mask().flatten()
    return [
        (tuple(x.tolist()), int(y))
        for xs, ys in pairs
        for x, y in zip(xs[..., ~mask].flatten(0, 1), ys.flatten(), strict=True)
    ]


def test_a_border_is_new_each_time():
    found = borders(IMAGES)
    assert len({border for border, _ in found}) == len(found) == 64


def test_a_kept_border_tells_the_image():
    found = borders(BorderedImages(data="digits", train=40, border=2, noise=0.5, kept=True))
    assert len({border for border, _ in found}) == len(set(found)) <= 40


def test_the_image_is_inside_and_spans_the_range():
    train, test, classes = IMAGES.splits("cpu")
    framed = IMAGES.framed(train.x, generator(0, "x"))
    assert framed.shape == (40, 144)
    assert torch.equal(framed[:, IMAGES.mask().flatten()].view(train.x.shape), train.x)
    assert (train.x.max() - train.x.min()).item() == pytest.approx(1)
    assert classes == 10
    assert test.x.shape[1:] == (8, 8)


def test_the_share_of_wrong_labels_is_exact_and_test_labels_are_right():
    wrong = BorderedImages(data="digits", train=40, border=2, noise=0.5, wrong=0.2)
    (train, test, _), (clean, held, _) = wrong.splits("cpu"), IMAGES.splits("cpu")
    assert (train.y != clean.y).sum().item() == 8
    assert torch.equal(test.y, held.y)


def test_replicas_see_the_same_alone_or_together():
    train, _, _ = IMAGES.splits("cpu")
    (both, _), (alone, _) = next(IMAGES.shown(4, train, [0, 1])), next(IMAGES.shown(4, train, [1]))
    assert torch.equal(both[1:], alone)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"border": 0}, "border must be at least 1, got 0"),
        ({"train": 0}, "train must be at least 1, got 0"),
        ({"noise": 0.0}, "noise must be above 0, got 0"),
        ({"wrong": 1.0}, r"wrong must be in \[0, 1\), got 1.0"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        BorderedImages(**{"data": "digits", "train": 40, "border": 2, "noise": 0.5, **wrong})
