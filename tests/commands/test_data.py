import pytest


def test_sets_are_listed_with_where_they_are(lowland, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    code, out, _ = lowland("data")
    assert code == 0
    assert "comes with scikit-learn" in out
    assert "not here: lowland data fetch mnist" in out


def test_digits_are_verified_and_need_no_fetching(lowland):
    assert "intact" in lowland("data", "verify", "digits")[1]
    assert "nothing to fetch" in lowland("data", "fetch", "digits")[1]


@pytest.mark.parametrize("verb", ["fetch", "verify"])
def test_an_unknown_set_is_refused_with_the_nearest(lowland, verb):
    code, _, err = lowland("data", verb, "minst")
    assert code == 2
    assert "Did you mean mnist?" in err


def test_a_set_that_is_not_here_is_said(lowland, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    code, _, err = lowland("data", "verify", "mnist")
    assert code == 2
    assert "lowland data fetch mnist" in err
