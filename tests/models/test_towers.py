import pytest
import torch
from torch import nn

from lowland.models._towers.hybrid import Hybrid
from lowland.models._towers.image_text import ImageText
from lowland.models._towers.text import Text


def text(**settings):
    return Text(12, 5, 6, **{"depth": 1, "width": 8, "heads": 2} | settings).double()


def test_agreement_is_the_cosine_over_the_temperature():
    model = ImageText(nn.Identity(), nn.Identity(), temperature=0.5)
    u = torch.tensor([[3.0, 0.0], [1.0, 1.0]])
    torch.testing.assert_close(model(u, u), 2 * torch.tensor([[1.0, 0.5**0.5], [0.5**0.5, 1.0]]))


def test_agreement_does_not_change_with_the_length_of_what_towers_answer():
    u, v = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    model = ImageText(nn.Identity(), nn.Identity())
    torch.testing.assert_close(model(7 * u, v / 3), model(u, v), rtol=1e-9, atol=1e-12)


def test_padding_is_left_out_of_the_mean_over_words():
    pool, x = text().pool, torch.randn(2, 5, 8, dtype=torch.float64)
    tokens = torch.tensor([[3, 4, 0, 0, 0], [1, 2, 3, 4, 5]])
    torch.testing.assert_close(pool(x, tokens), torch.stack([x[0, :2].mean(0), x[1].mean(0)]))


def test_words_and_their_places_decide_the_answer():
    tower = text()
    a, b, c = (tower(torch.tensor([tokens])) for tokens in ([1, 2, 0, 0, 0], [2, 1, 0, 0, 0], [1, 3, 0, 0, 0]))
    assert not torch.allclose(a, b, rtol=1e-6)
    assert not torch.allclose(a, c, rtol=1e-6)


def test_every_place_of_the_last_map_is_a_token():
    seen, tower = [], Hybrid((3, 16, 16), 6, stem=(4,), depth=2, width=8, heads=2)
    tower.blocks[1].register_forward_hook(lambda _, __, out: seen.append(out.shape))
    assert tower(torch.randn(3, 3, 16, 16)).shape == (3, 6)
    assert seen == [(3, 1 + 4 * 4, 8)]


@pytest.mark.parametrize("tower", [text(), Hybrid((3, 8, 8), 6, stem=(4,), depth=1, width=8, heads=2).double()])
def test_every_parameter_gets_a_gradient(tower):
    x = torch.arange(60).view(12, 5) % 12 if isinstance(tower, Text) else torch.randn(4, 3, 8, 8).double()
    tower(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in tower.parameters())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: text(heads=3), "heads must divide width 8, got 3"),
        (lambda: text(depth=0), "depth must be at least 1, got 0"),
        (lambda: Text(1, 5, 6), "words must be at least 2, got 1"),
        (lambda: Hybrid((3, 8, 8), 6, width=8, heads=3), "heads must divide width 8, got 3"),
        (lambda: Hybrid((3, 8, 8), 0), "outputs must be at least 1, got 0"),
        (lambda: ImageText(nn.Identity(), nn.Identity(), 0.0), "temperature must be above 0, got 0"),
    ],
)
def test_bad_arguments_are_refused_by_words(make, words):
    with pytest.raises(ValueError, match=words):
        make()
