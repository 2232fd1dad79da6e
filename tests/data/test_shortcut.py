import pytest
import torch

from lowland.data.dataset import Split
from lowland.data.shortcut import patched, shortcut
from lowland.seeds import generator


def split(n=500, side=8, channels=1, classes=10):
    x = torch.randn(n, channels, side, side, generator=generator(0, "images"))
    return Split(x, torch.arange(n) % classes)


def plant(given, agreement, classes=10, seed=0, kind="place"):
    return shortcut(given, agreement, classes, generator(seed, "shortcut"), kind)


def agrees(planted, given, classes=10, kind="place"):
    """Whether each image carries the patch of its own label."""
    return (planted.x == patched(given.x, given.y, classes, kind)).flatten(1).all(1)


@pytest.mark.parametrize("kind", ["place", "shade"])
@pytest.mark.parametrize("agreement", [0.0, 0.9, 1.0])
def test_exactly_the_stated_share_of_patches_names_the_label(agreement, kind):
    given = split()
    assert agrees(plant(given, agreement, kind=kind), given, kind=kind).sum() == round(agreement * 500)


def test_labels_and_the_images_given_are_left_alone():
    given = split()
    before = given.x.clone()
    assert plant(given, 0.5).y.equal(given.y)
    assert given.x.equal(before)


@pytest.mark.parametrize(("classes", "side"), [(2, 8), (10, 8), (10, 28), (12, 8), (100, 32)])
def test_every_class_has_a_place_of_its_own_along_the_border(classes, side):
    x = patched(torch.zeros(classes, 3, side, side), torch.arange(classes), classes)
    bright = x[:, 0] > 0
    assert bright.flatten(1).any(1).all()
    assert bright.sum(0).max() == 1
    assert not bright[:, side // 2 - 1 : side // 2 + 1, side // 2 - 1 : side // 2 + 1].any()
    assert x[:, 0].equal(x[:, 2])


def test_shades_rise_with_the_class_in_one_place():
    x = patched(torch.zeros(10, 1, 8, 8), torch.arange(10), 10, "shade")
    assert x[:, 0, 0, 0].tolist() == pytest.approx([-1 + c / 3 for c in range(10)])
    assert (x != 0)[:, :, 2:].sum() == 0


def test_the_seed_decides_which_patches_mislead():
    given = split()
    assert plant(given, 0.5).x.equal(plant(given, 0.5).x)
    assert not plant(given, 0.5).x.equal(plant(given, 0.5, seed=1).x)


def test_a_share_above_one_is_refused_by_words():
    with pytest.raises(ValueError, match=r"agreement must be in \[0, 1\], got 1.2"):
        plant(split(), 1.2)


def test_an_unknown_kind_is_refused_by_words():
    with pytest.raises(ValueError, match="kind must be one of place, shade, got 'hue'"):
        plant(split(), 0.5, kind="hue")


def test_images_without_room_are_refused_by_words():
    with pytest.raises(ValueError, match=r"images must be at least 26 x 26 pixels .* 100 classes, got 8 x 8"):
        plant(split(classes=100), 0.5, classes=100)
