import numpy as np
import torch

from lowland.data.pixels import Pixels, moments, standardised


def test_moments_are_those_of_numpy():
    x = np.random.default_rng(0).integers(0, 256, (50, 4, 5, 3), dtype=np.uint8)
    mean, sd = moments(torch.from_numpy(x))
    torch.testing.assert_close(mean, torch.from_numpy(x.mean((0, 1, 2))), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(sd, torch.from_numpy(x.std((0, 1, 2))), rtol=1e-9, atol=1e-12)


def test_standardised_channels_have_mean_zero_and_deviation_one():
    x = torch.randint(0, 256, (40, 6, 6, 3), dtype=torch.uint8)
    z = standardised(x, *moments(x)).double()
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(3).double(), rtol=0, atol=1e-5)
    torch.testing.assert_close(z.std((0, 2, 3), correction=0), torch.ones(3).double(), rtol=1e-5, atol=0)


def test_a_constant_channel_becomes_zero_and_not_infinite():
    x = torch.full((3, 2, 2, 1), 7, dtype=torch.uint8)
    assert standardised(x, *moments(x)).eq(0).all()


def test_standardised_images_are_contiguous_with_channels_first():
    z = standardised(torch.zeros(5, 2, 3, 4, dtype=torch.uint8), torch.zeros(4), torch.ones(4))
    assert z.shape == (5, 4, 2, 3)
    assert z.is_contiguous()


def test_grey_images_get_a_channel_and_other_labels_are_cut_to_length():
    pixels = Pixels.of(np.zeros((3, 8, 8), np.uint8), np.zeros(3, np.uint8)).labelled(
        np.array([2, 1, 0, 5], np.uint8)
    )
    assert pixels.x.shape == (3, 8, 8, 1)
    assert pixels.y.tolist() == [2, 1, 0]
