import pytest

from lowland.commands.door import door, warn


@pytest.mark.parametrize("kind", [ValueError, TypeError, LookupError, RuntimeError, OSError, FileNotFoundError])
def test_a_refusal_becomes_a_sentence_and_an_exit_code(kind, capsys):
    with pytest.raises(SystemExit) as end, door(code=1):
        raise kind("rho[0] must be at least 0, got -1.")
    assert end.value.code == 1
    assert capsys.readouterr().err == "error rho[0] must be at least 0, got -1.\n"


@pytest.mark.parametrize("kind", [KeyError, ZeroDivisionError, UnicodeError, NotImplementedError])
def test_a_mistake_of_ours_keeps_its_traceback(kind):
    with pytest.raises(kind), door():
        raise kind("x")


def test_the_traceback_can_be_had(monkeypatch):
    monkeypatch.setenv("LOWLAND_TRACEBACK", "1")
    with pytest.raises(ValueError, match="no"), door():
        raise ValueError("no")


def test_a_warning_goes_to_standard_error(capsys):
    warn("mind [this]")
    assert capsys.readouterr().err == "note mind [this]\n"
