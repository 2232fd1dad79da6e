from math import sqrt

import pytest

from lowland.theory.stabilised_loss import stabilised_loss


def course(rate, target, steps, theta=0.8):
    """The last two values of theta after gradient descent."""
    before = theta = theta * sqrt(target)
    for _ in range(steps):
        before, theta = theta, theta + rate / target * theta * (target - theta**2)
    return before, theta


@pytest.mark.parametrize("rate", [0.5, 0.9, 1.05, 1.2, 1.23])
@pytest.mark.parametrize("target", [0.3, 1.0, 4.0])
def test_is_where_gradient_descent_settles(rate, target):
    found = sum((target - theta**2) ** 2 / 4 for theta in course(rate, target, 5000)) / 2
    assert found / target**2 == pytest.approx(stabilised_loss(rate), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("rate", [1.05, 1.2, 1.23])
def test_the_two_points_have_the_derived_product_and_sum(rate):
    first, second = course(rate, 1.0, 5000)
    assert first * second == pytest.approx(1 / rate, rel=1e-9)
    assert first + second == pytest.approx(sqrt(1 + 3 / rate), rel=1e-9)


def test_is_continuous_at_the_threshold_and_rises():
    values = [stabilised_loss(1 + x) for x in (0, 1e-9, 0.1, 0.2)]
    assert values[0] == 0
    assert values == sorted(values)
    assert values[1] < 1e-9


@pytest.mark.parametrize(("rate", "leaves"), [(1.3, False), (1.95, False), (2.05, True)])
def test_there_is_chaos_up_to_two_and_nothing_beyond(rate, leaves):
    theta, steps = 0.8112, 0
    while abs(theta) <= sqrt(1 + 2 / rate) and steps < 5000:
        theta, steps = (1 + rate) * theta - rate * theta**3, steps + 1
    assert (steps < 5000) == leaves


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (-0.1, "rate must be a finite number >= 0, got -0.1"),
        (1.24, r"rate must be below sqrt\(5\) - 1 = 1.236, got 1.24: beyond, the loss settles on no cycle of two"),
    ],
)
def test_a_rate_out_of_range_is_refused_by_words(rate, words):
    with pytest.raises(ValueError, match=words):
        stabilised_loss(rate)
