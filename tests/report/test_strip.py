import math
import re

from lowland.report.effect import Effect
from lowland.report.strip import strips


def effect(low, high, expected="above", unit="%", bound=0.0):
    middle = (low + high) / 2 if math.isfinite(low) else 1.0
    return Effect(name="x", value=middle, low=low, high=high, seeds=5, expected=expected, bound=bound, unit=unit)


def spots(strip, kind):
    return [float(x) for x in re.search(rf'class="{kind}" x1="(.+?)%" x2="(.+?)%"', strip).groups()]


def test_one_unit_has_one_scale():
    first, second = strips([effect(1, 2), effect(-3, 9)])
    assert spots(first, "bound") == spots(second, "bound")
    assert (
        0
        < spots(second, "bar")[0]
        < spots(first, "bar")[0]
        < spots(first, "bar")[1]
        < spots(second, "bar")[1]
        < 100
    )


def test_units_do_not_share_a_scale():
    first, _ = strips([effect(1, 2), effect(1000, 2000, unit="s")])
    assert spots(first, "bar")[1] > 80


def test_the_shaded_side_supports_the_claim():
    (above,), (below,) = strips([effect(1, 2)]), strips([effect(1, 2, "below")])
    assert f'x="{spots(above, "bound")[0]:.2f}%"' in above
    assert 'class="side" x="0.00%"' in below


def test_an_unknown_interval_runs_over_the_whole_width():
    (strip,) = strips([effect(-math.inf, math.inf)])
    assert spots(strip, "bar open") == [0, 100]


def test_within_has_two_bounds():
    assert strips([effect(-1, 1, "within", bound=2.0)])[0].count('class="bound"') == 2


def test_an_effect_of_nothing_is_drawn():
    assert spots(strips([effect(0, 0)])[0], "bar") == [50, 50]
