import pytest

from lowland.data.tokens import tokenised


def test_every_word_has_one_number_and_texts_are_filled_up_or_cut():
    tokens, words = tokenised(["Grinning face, FACE: grin", "cat face", "o'clock: 1"], 3)
    assert tokens.tolist() == [[1, 2, 3], [4, 2, 0], [5, 6, 7]]
    assert words == ("grinning", "face", "grin", "cat", "o", "clock", "1")


def test_words_of_other_scripts_are_words():
    assert tokenised(["piñata 円"], 2)[1] == ("piñata", "円")


def test_a_text_without_words_is_refused_by_words():
    with pytest.raises(ValueError, match=r"texts must have at least one word each, got ':-\)'"):
        tokenised(["smile", ":-)"], 3)


def test_no_length_is_refused_by_words():
    with pytest.raises(ValueError, match="length must be at least 1, got 0"):
        tokenised(["smile"], 0)
