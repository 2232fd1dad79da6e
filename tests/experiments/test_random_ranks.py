import math

import pytest
import torch

from lowland.experiments.random_ranks import kernel_rank, random_matrix, random_ranks


def seeded():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("shape", [(6, 6), (4, 6), (6, 4)])
def test_orthogonal_weights_have_equal_singular_values(shape):
    W = random_matrix("orthogonal", *shape, seeded())
    assert tuple(W.shape) == shape
    torch.testing.assert_close(torch.linalg.svdvals(W), torch.ones(min(shape), dtype=torch.float64))


def test_kernel_rank_is_the_entropy_of_the_kernel_matrix():
    F = torch.randn(7, 3, dtype=torch.float64)
    p = torch.linalg.eigvalsh(F @ F.T)[-3:]
    p = p / p.sum()
    assert kernel_rank(F) == pytest.approx(-(p * p.log()).sum().item(), rel=1e-9)


def test_uniform_entries_are_centred():
    W = random_matrix("uniform", 50, 40, seeded())
    assert -0.5 <= W.min() < W.max() <= 0.5
    assert W.mean().item() == pytest.approx(0, abs=4 * math.sqrt(1 / 12 / W.numel()))


def test_an_unknown_start_is_refused_by_words():
    with pytest.raises(ValueError, match="start must be one of normal, uniform, orthogonal, got 'zero'"):
        random_matrix("zero", 2, 2, seeded())


def test_every_draw_has_its_rank_and_its_centred_one():
    ranks, centred = random_ranks([12, 6, 6, 3], "normal", True, 5, seeded())
    assert len(set(ranks)) == len(set(centred)) == 5
    assert 0 <= min(ranks) < max(ranks) <= math.log(3)


def test_one_orthogonal_matrix_leaves_the_rank_of_its_inputs():
    ((rank,), _) = random_ranks([12, 4, 4], "orthogonal", False, 1, seeded())
    assert rank == pytest.approx(kernel_rank(torch.randn(12, 4, generator=seeded(), dtype=torch.float64)))
