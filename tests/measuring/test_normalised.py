import pytest
import torch

from lowland.measuring.normalised import normalised


def test_scale_and_mean_do_not_matter():
    z = torch.randn(5, 3, dtype=torch.float64)
    torch.testing.assert_close(normalised(7 * z + 2), normalised(z))
    torch.testing.assert_close(normalised(z).norm(dim=1), torch.ones(5, dtype=torch.float64))


def test_equal_scores_become_zero():
    assert not normalised(torch.ones(2, 3)).any()


def test_what_are_no_scores_is_refused_by_words():
    with pytest.raises(TypeError, match=r"one tensor of class scores, got tuple: normalise=False"):
        normalised((torch.ones(2, 3),))
    with pytest.raises(ValueError, match=r"2 classes or more, got shape \(4, 1\): normalise=False"):
        normalised(torch.ones(4, 1))
