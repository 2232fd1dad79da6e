import pytest
import torch
import torch.nn.functional as F

from lowland.data.augment import Augment
from lowland.seeds import generator


def windows(image, padding):
    """All crops of one padded image, and their mirror images."""
    _, h, w = image.shape
    padded = F.pad(image, [padding] * 4)
    places = [(i, j) for i in range(2 * padding + 1) for j in range(2 * padding + 1)]
    crops = torch.stack([padded[:, i : i + h, j : j + w] for i, j in places])
    return crops, crops.flip(-1)


def shares(padding, flip, n=2000):
    """How often each crop and each mirrored crop of one image is drawn."""
    image = torch.randn(2, 5, 4)
    drawn = Augment(padding=padding, flip=flip)(image.expand(n, 2, 5, 4), generator(0, "augment"))
    return [
        [(drawn == crop).flatten(1).all(1).float().mean().item() for crop in kind]
        for kind in windows(image, padding)
    ]


def test_every_crop_and_its_mirror_image_is_equally_likely():
    plain, mirrored = shares(1, True)
    assert sum(plain) + sum(mirrored) == pytest.approx(1)
    assert max(abs(s - 1 / 18) for s in plain + mirrored) < 4 * (1 / 18 / 2000) ** 0.5


def test_without_flip_nothing_is_mirrored():
    plain, mirrored = shares(1, False, n=200)
    assert sum(plain) == pytest.approx(1)
    assert sum(mirrored) == 0


def test_without_padding_and_flip_the_batch_is_unchanged():
    x = torch.randn(4, 3, 6, 5)
    torch.testing.assert_close(Augment(padding=0, flip=False)(x, generator(0)), x, rtol=0, atol=0)


def test_the_generator_decides_and_the_batch_given_is_left_alone():
    x = torch.randn(8, 1, 8, 8)
    before = x.clone()
    a, b, c = (Augment()(x, generator(seed)) for seed in (0, 0, 1))
    assert a.equal(b)
    assert not a.equal(c)
    assert x.equal(before)


def test_it_keeps_dtype_and_device():
    x = torch.zeros(3, 1, 8, 8, dtype=torch.float64, device="meta")
    y = Augment()(x, generator(0))
    assert (y.dtype, y.device, y.shape) == (x.dtype, x.device, x.shape)


def test_a_negative_padding_is_refused_by_words():
    with pytest.raises(ValueError, match="padding must be at least 0, got -1"):
        Augment(padding=-1)
