import pytest
import torch

from lowland.data.pairs import PairBatches, Pairs, galleries


def pairs(n=10, m=7):
    """Concept i has token i + 1, and 10 i + s for its picture in style s; odd ones are drawn in one style only."""
    images = (10.0 * torch.arange(n)[:, None] + torch.arange(2)).view(n, 2, 1, 1, 1)
    there = torch.stack([torch.arange(n) % 2 == 0, torch.ones(n, dtype=torch.bool)], 1)
    tokens = torch.arange(1, n + 1)[:, None]
    return Pairs(
        images=images,
        there=there,
        tokens=tokens,
        test_images=100 + torch.arange(float(m)).view(m, 1, 1, 1),
        test_tokens=tokens[:m],
        words=tuple(map(str, range(n))),
        source="made",
    )


def test_a_batch_pairs_every_picture_with_its_own_text_in_a_style_it_is_drawn_in():
    for k in range(20):
        for (x, tokens), y in PairBatches(pairs(), 4, seed=0).epoch(k):
            concept, style = x.flatten().long() // 10, x.flatten().long() % 10
            assert concept.tolist() == (tokens[:, 0] - 1).tolist()
            assert (style[concept % 2 == 1] == 1).all()
            assert y.tolist() == [0, 1, 2, 3]


def test_no_concept_is_twice_in_an_epoch_and_both_styles_are_seen():
    styles = set()
    for k in range(10):
        seen = torch.cat([x.flatten().long() for (x, _), _ in PairBatches(pairs(), 5, seed=1).epoch(k)])
        assert sorted((seen // 10).tolist()) == list(range(10))
        styles |= set((seen[seen // 10 % 2 == 0] % 10).tolist())
    assert styles == {0, 1}


def test_any_batch_can_be_had_again():
    batches = PairBatches(pairs(), 3, seed=0)
    whole, rest = list(batches.epoch(5)), list(batches.epoch(5, start=2))
    assert (len(batches), len(whole), len(rest)) == (3, 3, 1)
    assert all(a.equal(b) for a, b in zip(whole[2][0], rest[0][0], strict=True))


def test_a_batch_is_no_larger_than_there_are_concepts():
    assert [len(y) for _, y in PairBatches(pairs(), 64, seed=0).epoch(0)] == [10]


def test_galleries_are_equally_large_and_leave_out_what_is_over():
    found = galleries(pairs(), 3)
    assert [x.flatten().tolist() for (x, _), _ in found] == [[100, 101, 102], [103, 104, 105]]
    assert len(galleries(pairs(), 99)[0][1]) == 7


def test_galleries_of_training_pairs_show_the_first_style_that_there_is():
    ((x, tokens), _), *_ = galleries(pairs(), 4, "train")
    assert x.flatten().tolist() == [0, 11, 20, 31]
    assert tokens.flatten().tolist() == [1, 2, 3, 4]


def test_pairs_move_as_a_whole():
    assert pairs().to("meta").images.device == pairs().to("meta").test_tokens.device == torch.device("meta")


def test_a_batch_of_one_has_nothing_to_contrast_and_is_refused_by_words():
    with pytest.raises(ValueError, match="size must be at least 2, got 1"):
        PairBatches(pairs(), 1, seed=0)
