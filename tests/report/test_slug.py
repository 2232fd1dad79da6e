import pytest

from lowland.report.slug import slug


@pytest.mark.parametrize(("text", "name"), [("ρ = 0.1", "rho_0_1"), ("é/..\\", "e"), ("...", "unnamed")])
def test_a_slug_is_safe_anywhere(text, name):
    assert slug(text) == name
