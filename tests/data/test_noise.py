import pytest
import torch

from lowland.data.noise import noisy
from lowland.seeds import generator


def draw(y, rate, classes=10, seed=0):
    return noisy(y, rate, classes, generator(seed, "noise"))


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 1.0])
def test_exactly_the_stated_share_of_labels_is_wrong(rate):
    y = torch.arange(1000) % 10
    assert (draw(y, rate) != y).sum() == round(rate * 1000)


def test_every_wrong_class_is_equally_likely():
    y = torch.full((9000,), 3)
    counts = draw(y, 1.0).bincount(minlength=10)
    assert counts[3] == 0
    assert (counts[counts > 0] - 1000).abs().max() < 4 * 1000**0.5


def test_the_seed_decides_which_labels_are_wrong():
    y = torch.arange(500) % 10
    assert draw(y, 0.3).equal(draw(y, 0.3))
    assert not draw(y, 0.3).equal(draw(y, 0.3, seed=1))


def test_the_labels_given_are_left_alone():
    y = torch.zeros(20, dtype=torch.long)
    draw(y, 0.5)
    assert y.eq(0).all()


def test_a_rate_above_one_is_refused_by_words():
    with pytest.raises(ValueError, match=r"rate must be in \[0, 1\], got 1.2"):
        draw(torch.zeros(3, dtype=torch.long), 1.2)


def test_noise_needs_another_class_to_change_to():
    with pytest.raises(ValueError, match="classes must be at least 2 for a label to be wrong, got 1"):
        draw(torch.zeros(3, dtype=torch.long), 0.5, classes=1)
