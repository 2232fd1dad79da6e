import pytest

from lowland import checks


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: checks.ascending("rhos", (0.0, 0.1)),
            ValueError,
            r"rhos must ascend from above 0 and be at least one, got \(0.0, 0.1\)",
        ),
        (lambda: checks.ascending("depths", (2, 4), first=1), ValueError, "depths must ascend from 1 and"),
        (lambda: checks.ascending("depths", (1,), first=1, least=2), ValueError, "at least two, got"),
        (lambda: checks.ascending("rhos", (0.1, 0.1)), ValueError, "rhos must ascend"),
        (lambda: checks.ascending("rhos", ()), ValueError, r"at least one, got \(\)"),
        (lambda: checks.ascending("rhos", (0.1, float("inf"))), ValueError, "finite number >= 0, got inf"),
        (lambda: checks.at_least("rho", -1, 0), ValueError, "rho must be a finite number >= 0, got -1"),
        (lambda: checks.at_least("rho", float("nan"), 0), ValueError, "got nan"),
        (lambda: checks.at_least("rho", True, 0), TypeError, "rho must be a number, got True"),
        (lambda: checks.fraction("p", 1.5), ValueError, r"p must be in \[0, 1\], got 1.5"),
        (lambda: checks.fraction("p", 0, zero=False), ValueError, r"p must be in \(0, 1\], got 0"),
        (lambda: checks.fraction("p", 1, one=False), ValueError, r"p must be in \[0, 1\), got 1"),
        (lambda: checks.fraction("p", "x"), TypeError, "p must be a number, got 'x'"),
        (lambda: checks.whole("k", 1.0), TypeError, "k must be a whole number, got 1.0"),
        (lambda: checks.whole("k", 0), ValueError, "k must be at least 1, got 0"),
        (
            lambda: checks.one_of("mode", "fats", ["fast", "slow"]),
            ValueError,
            "must be one of fast, slow, got 'fats'",
        ),
    ],
)
def test_what_is_refused_is_said(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_what_is_right_passes():
    checks.ascending("rhos", (0.1, 0.2, 0.4), least=3)
    checks.ascending("rhos", [0.0, 0.2], first=0)
    checks.at_least("rho", 0, 0)
    checks.fraction("p", 0.0)
    checks.whole("k", 1)
    checks.one_of("mode", "fast", ["fast"])


def test_unknown_names_get_the_nearest_first():
    assert checks.nearest("fashion-mist", ["mnist", "fashion-mnist", "digits"])[0] == "fashion-mnist"
    assert checks.unknown("set", "zzz", ["b", "a"]) == "There is no set called 'zzz'. There are: a, b."
