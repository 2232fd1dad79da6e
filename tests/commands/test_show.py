import pytest

from lowland.commands.kinds import KINDS

NAMES = sorted({name for kind in KINDS for name in kind.names()})


@pytest.mark.parametrize("name", NAMES)
def test_everything_that_is_listed_is_shown(lowland, name):
    code, out, _ = lowland("show", name)
    assert code == 0
    assert out.startswith(name)
    assert ":math:" not in out
    assert ":class:" not in out


def test_a_method_is_shown_with_its_settings_and_use(lowland):
    _, out, _ = lowland("show", "asam")
    for words in ("as_davda", "Radius, relative to the weights", "from lowland.methods.asam import ASAM"):
        assert words in out
    assert "lowland compare --methods sgd asam:rho=0.5" in out


def test_an_unknown_name_is_refused_with_the_nearest(lowland):
    code, _, err = lowland("show", "feature-rnk")
    assert code == 2
    assert "Did you mean feature_rank" in err
