from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from lowland.data.pair_set import Drawn, PairSet


@dataclass(frozen=True, kw_only=True)
class Grey(PairSet):
    """Concept i has level 8 i + s in style s; even ones are drawn as ``c``, none as ``b``, all but 5 as ``a``."""

    NAME: ClassVar[str] = "grey"
    STYLES: ClassVar[tuple[str, ...]] = ("a", "b", "c")
    held_out: str = "c"

    @classmethod
    def where(cls):
        return "made here"

    def read(self):
        n = torch.arange(8)
        levels = (8 * n[:, None] + torch.arange(3)).to(torch.uint8)
        there = torch.stack([n != 5, torch.zeros(8, dtype=torch.bool), n % 2 == 0], 1)
        images = levels[:, :, None, None, None].expand(8, 3, 32, 32, 3)
        return Drawn(texts=tuple(f"word{i}" for i in range(8)), images=images, there=there)


def concept(pairs, tokens):
    return [int(pairs.words[token - 1].removeprefix("word")) for token in tokens[:, 0].tolist()]


def test_concepts_drawn_in_another_style_are_trained_on_and_of_those_the_held_out_ones_tested():
    pairs = Grey().load()
    assert sorted(concept(pairs, pairs.tokens)) == [0, 1, 2, 3, 4, 6, 7]
    assert sorted(concept(pairs, pairs.test_tokens)) == [0, 2, 4, 6]


def test_every_text_has_its_own_picture():
    pairs = Grey().load()
    levels = 8.0 * torch.tensor(concept(pairs, pairs.tokens))
    sd = levels.std(correction=0)
    torch.testing.assert_close(pairs.images[:, 0, 0, 3, 3], (levels - levels.mean()) / sd, rtol=1e-4, atol=1e-4)
    test = 8.0 * torch.tensor(concept(pairs, pairs.test_tokens)) + 2
    torch.testing.assert_close(pairs.test_images[:, 2, 0, 0], (test - levels.mean()) / sd, rtol=1e-4, atol=1e-4)


def test_fewer_concepts_are_the_first_of_more():
    some, all_ = Grey(concepts=5).load(), Grey().load()
    assert concept(some, some.tokens) == concept(all_, all_.tokens)[:5]


def test_pictures_are_shrunk_to_the_side_asked_for():
    assert Grey(side=8).load().shape == (3, 8, 8)
    assert Grey(side=32).load().shape == (3, 32, 32)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"side": 12}, "side must divide 32, got 12"),
        ({"held_out": "d"}, "held_out must be one of a, b, c, got 'd'"),
        ({"length": 0}, "length must be at least 1, got 0"),
        ({"concepts": 3}, "concepts must be at least 4, got 3"),
    ],
)
def test_bad_settings_are_refused_by_words(settings, words):
    with pytest.raises(ValueError, match=words):
        Grey(**settings)


def test_a_style_that_nothing_is_drawn_in_is_refused_by_words():
    with pytest.raises(ValueError, match="grey: concepts must be more, none of 7 is drawn as b"):
        Grey(held_out="b").load()
