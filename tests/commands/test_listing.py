import pytest

from lowland.commands.kinds import KINDS


def test_everything_is_listed_with_its_summary(lowland):
    code, out, _ = lowland("list")
    assert code == 0
    for kind in KINDS:
        assert kind.title in out
        assert all(f" {name} " in out for name in kind.names())
    assert "Sharpness-aware minimisation." in out


def test_one_kind_is_listed_alone(lowland):
    _, out, _ = lowland("list", "models")
    assert "resnet" in out
    assert "sam" not in out.replace("same", "")


def test_an_unknown_kind_is_refused(lowland):
    code, out, err = lowland("list", "modles")
    assert (code, out) == (2, "")
    assert "Did you mean models" in err


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.word)
def test_every_kind_has_names(kind):
    assert kind.names()
