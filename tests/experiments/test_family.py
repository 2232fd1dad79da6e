import pytest

from lowland.catalog import build
from lowland.experiments.family import FAMILY, spec


@pytest.mark.parametrize("name", FAMILY)
def test_every_method_can_be_built_at_any_radius(name):
    for rho in (0.05, 0.1, 0.2):
        build("methods", spec(name, rho))


def test_radii_follow_sams():
    assert build("methods", spec("asam", 0.2)).rho == 2.0
    assert build("methods", spec("sam", 0.2)).rho == 0.2
    assert (build("methods", spec("gam", 0.2)).rho_1, build("methods", spec("gam", 0.2)).rho_2) == (0.04, 0.4)


def test_a_spec_of_your_own_is_taken_as_it_is():
    assert spec("esam:rho=0.3,beta=1.0", 0.1) == "esam:rho=0.3,beta=1.0"
