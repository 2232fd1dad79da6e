import pytest

from lowland.commands.kinds import find, kind, studies


def test_a_kind_is_found_by_its_word():
    assert kind("methods").folder == "methods"
    assert kind("Data sets") is kind("data")


def test_an_unknown_kind_is_refused_with_the_nearest():
    with pytest.raises(LookupError, match=r"no kind called 'method'. Did you mean methods"):
        kind("method")


@pytest.mark.parametrize("name", ["fashion-mnist", "fashion_mnist", "Fashion-MNIST"])
def test_a_thing_is_found_however_it_is_spelled(name):
    ((found, thing),) = find(name)
    assert (found.word, thing) == ("data", "fashion-mnist")


def test_an_unknown_thing_is_refused_with_the_nearest():
    with pytest.raises(LookupError, match=r"no thing called 'asamm'. Did you mean asam"):
        find("asamm")


def test_verbs_are_not_studies():
    assert "compare" not in studies()
