import pytest
from PIL import Image

from lowland.data.pair_sets.emoji import CAPTIONS, SHEETS, Emoji


def test_without_files_the_sentence_says_what_to_do(folder):
    with pytest.raises(FileNotFoundError, match=r"emoji must be on this machine, .* Set LOWLAND_DATA to a folder"):
        Emoji().load()
    assert Emoji.where() is None


def test_damaged_files_are_refused_by_words(folder):
    (folder / "emoji").mkdir()
    (folder / "emoji" / CAPTIONS).write_bytes(b"no archive")
    for style in SHEETS:
        Image.new("RGB", (32, 32)).save(folder / "emoji" / f"emoji_{style}_32.webp", lossless=True)
    with pytest.raises(ValueError, match=f"{CAPTIONS} is damaged: it cannot be decoded"):
        Emoji().load()


def test_all_concepts_are_there_in_the_styles_that_drew_them(real_data):
    drawn = Emoji().read()
    assert drawn.there.sum(0).tolist() == [1899, 1340, 894]
    assert drawn.texts[0].startswith("grinning face grinning face face smile happy joy")
    assert drawn.images.shape == (1899, 3, 32, 32, 3)


def test_the_third_style_is_tested_on(real_data):
    pairs = Emoji(side=8, length=6).load()
    assert (len(pairs), len(pairs.test_tokens), pairs.shape) == (1899, 894, (3, 8, 8))
    assert pairs.there.sum(0).tolist() == [1899, 1340]
    assert len(Emoji(side=8, held_out="noto").load()) == 1340
