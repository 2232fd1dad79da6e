from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from lowland.data.image_set import ImageSet
from lowland.data.pixels import Pixels, Raw

IMAGES = np.random.default_rng(0).integers(0, 256, (120, 4, 4, 1), dtype=np.uint8)
LABELS = np.arange(120) % 3


@dataclass(frozen=True, kw_only=True)
class Tiny(ImageSet):
    """90 + 30 random images of three classes."""

    NAME: ClassVar[str] = "tiny"
    SHAPE: ClassVar[tuple[int, int, int]] = (1, 4, 4)
    SIZES: ClassVar[tuple[int, int]] = (90, 30)

    @property
    def classes(self):
        return ("a", "b", "c")

    @classmethod
    def where(cls):
        return "made up"

    def read(self):
        pixels = Pixels.of(IMAGES, LABELS)
        return Raw(train=pixels.at(slice(90)), test=pixels.at(slice(90, None)), source="made up")


def test_the_first_images_are_taken():
    data = Tiny(train=30, test=6).load()
    assert (len(data.train), len(data.test), data.shape) == (30, 6, (1, 4, 4))
    assert data.train.y.tolist() == LABELS[:30].tolist()


def test_all_images_are_standardised_by_the_training_images():
    data = Tiny(train=30).load()
    mean, sd = IMAGES[:30].mean(), IMAGES[:30].std()
    expected = torch.from_numpy((IMAGES[90:] - mean) / sd).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(data.test.x, expected, rtol=1e-5, atol=1e-6)
    assert (data.mean, data.sd) == (pytest.approx((mean,)), pytest.approx((sd,)))


def test_noise_changes_training_labels_and_nothing_else():
    clean, noisy = Tiny().load(), Tiny(label_noise=0.3).load()
    assert (noisy.train.y != clean.train.y).sum() == 27
    assert noisy.test.y.equal(clean.test.y)
    assert noisy.train.x.equal(clean.train.x)


def test_the_seed_decides_the_noise():
    first, again, other = (Tiny(label_noise=0.3, seed=seed).load().train.y for seed in (0, 0, 1))
    assert first.equal(again)
    assert not first.equal(other)


def test_a_long_tail_thins_the_training_part_only():
    data = Tiny(long_tail=9.0).load()
    assert data.train.y.bincount().tolist() == [30, 10, 3]
    assert len(data.test) == 30


def test_the_source_says_what_was_done():
    assert (
        Tiny(long_tail=9.0, label_noise=0.2, seed=4).load().source
        == "made up; long tail 9; 20 % wrong labels, seed 4"
    )


def test_a_missing_class_is_refused_by_words():
    words = r"tiny: every class must occur in the training data, but among its 2 images 1 of 3 classes .* \(c\)"
    with pytest.raises(ValueError, match=words):
        Tiny(train=2).load()
    with pytest.raises(ValueError, match="occur in the test data"):
        Tiny(test=1).load()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"train": 91}, "tiny: train must be at most 90, the images there are, got 91"),
        ({"test": 0}, "tiny: test must be at least 1, got 0"),
        ({"label_noise": 1.5}, r"label_noise must be in \[0, 1\], got 1.5"),
        ({"long_tail": 0.1}, "long_tail must be a finite number >= 1, got 0.1"),
    ],
)
def test_bad_numbers_are_refused_by_words(settings, words):
    with pytest.raises(ValueError, match=words):
        Tiny(**settings)


def test_a_number_of_images_must_be_whole():
    with pytest.raises(TypeError, match=r"tiny: train must be a whole number, got 0\.5"):
        Tiny(train=0.5)
