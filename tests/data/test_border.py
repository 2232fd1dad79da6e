import pytest
import torch

from lowland.data.border import bordered, inside, rings


def seeded():
    return torch.Generator().manual_seed(0)


def test_the_image_is_whole_and_the_border_is_noise():
    x = torch.rand(50, 6, 4) + 10
    found = bordered(x, 2, 0.5, seeded())
    mask = inside(6, 4, 2)
    assert found.shape == (50, 10, 8)
    assert torch.equal(found[:, mask].reshape(x.shape), x)
    noise = found[:, ~mask]
    assert noise.mean().item() == pytest.approx(0, abs=4 * 0.5 / noise.numel() ** 0.5)
    assert noise.std().item() == pytest.approx(0.5, rel=0.05)


def test_the_same_generator_draws_the_same_border_and_the_next_draws_another():
    x, one = torch.ones(3, 3), seeded()
    first, second = (bordered(x, 1, 1.0, one) for _ in range(2))
    assert torch.equal(first, bordered(x, 1, 1.0, seeded()))
    assert not torch.equal(first, second)


def test_rings_are_counted_from_the_edge():
    picture = torch.tensor([[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 3, 0], [0, 0, 0, 4]]).double()
    assert rings(picture).tolist() == pytest.approx([4 / 12, 6 / 4])


def test_keeps_the_dtype():
    assert bordered(torch.ones(2, 2, dtype=torch.float64), 1, 1.0, seeded()).dtype == torch.float64


@pytest.mark.parametrize(
    ("width", "sd", "words"),
    [(0, 1.0, "width must be at least 1, got 0"), (1, -1.0, "sd must be a finite number >= 0, got -1.0")],
)
def test_bad_arguments_are_refused_by_words(width, sd, words):
    with pytest.raises(ValueError, match=words):
        bordered(torch.ones(2, 2), width, sd, seeded())
