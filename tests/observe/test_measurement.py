from dataclasses import dataclass
from typing import ClassVar

import pytest

from lowland.observe.measurement import Measurement


@dataclass(frozen=True, kw_only=True)
class Single(Measurement):
    levels: tuple[float, ...] = (0.5,)
    layers: tuple[str, ...] | None = None

    def start(self, splits):
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Pair(Single):
    SPLITS: ClassVar[tuple[str, ...]] = ("train", "test")


def test_reads_each_split_given_on_its_own():
    assert Single().groups(["a", "b"]) == [("a",), ("b",)]


def test_reads_only_the_splits_it_is_told_to():
    assert Single(on="b").groups(["a", "b"]) == [("b",)]
    assert Single(on=("b", "a")).groups(["a", "b", "c"]) == [("b",), ("a",)]


def test_compares_its_own_splits_or_those_named_for_their_roles():
    assert Pair().groups(["test", "train", "x"]) == [("train", "test")]
    assert Pair(on=("a", "b")).groups(["b", "a"]) == [("a", "b")]


@pytest.mark.parametrize("pair", [Pair(), Pair(on="data"), Pair(on=("data", "data", "data"))])
def test_a_comparison_without_its_splits_says_what_to_pass(pair):
    with pytest.raises(
        LookupError, match=r"Pair needs the splits .* in the roles train, test, got 'data'. Pass data"
    ):
        pair.groups(["data"])


def test_a_split_that_is_not_there_is_refused_by_words():
    with pytest.raises(LookupError, match=r"Single needs the splits 'tset', got 'test'"):
        Single(on="tset").groups(["test"])


def test_settings_are_plain_values_without_what_readings_state_themselves():
    assert Single(on="a", layers=("b",)).settings() == {"levels": [0.5]}
