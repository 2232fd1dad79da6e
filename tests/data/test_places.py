from pathlib import Path

import pytest

from lowland.data.places import cache, find, not_found, roots


def put(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_the_named_folder_comes_before_the_cache(folder, cache):
    put(folder / "mnist/a", cache / "mnist/a")
    assert roots() == [folder, cache]
    assert find(["mnist"], ["a"]) == folder / "mnist"


def test_the_cache_is_found_without_a_named_folder(cache):
    put(cache / "MNIST/raw/a.gz", cache / "MNIST/raw/b")
    assert find(["mnist", "MNIST/raw"], ["a", "b"], ["", ".gz"]) == cache / "MNIST/raw"


def test_a_folder_that_lacks_a_file_is_passed_over(folder, cache):
    put(folder / "mnist/a", cache / "mnist/a", cache / "mnist/b")
    assert find(["mnist"], ["a", "b"]) == cache / "mnist"


def test_nothing_is_found_where_nothing_is():
    assert find(["mnist"], ["a"]) is None


def test_a_named_folder_that_is_not_there_is_refused_by_words(monkeypatch, tmp_path):
    monkeypatch.setenv("LOWLAND_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(
        FileNotFoundError, match=r"LOWLAND_DATA must name a folder, got .*nowhere.*Correct it, or unset it"
    ):
        roots()


def test_the_cache_lies_in_the_home_folder_by_default(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache() == Path.home() / ".cache" / "lowland"


def test_the_sentence_for_missing_files_says_where_and_what_to_do(folder):
    sentence = not_found("mnist", ["mnist"])
    assert str(folder / "mnist") in sentence
    assert "Run `lowland data fetch mnist`, or set LOWLAND_DATA" in sentence
