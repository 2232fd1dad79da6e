import math

import pytest

from lowland.report.number import number, places


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-0.0, "0"),
        (-0.0004, "−0.0004"),
        (12345.678, "12\u2009346"),
        (1e-7, "1e−07"),
        (99.95, "100"),
        (110.3, "110"),
        (-1000.2, "−1000"),
        (100.14, "100"),
        (0.5001, "0.5"),
        (math.nan, "–"),
        (-math.inf, "−∞"),
        (True, "1"),
    ],
)
def test_number_reads_well(value, text):
    assert number(value) == text


def test_a_rounded_zero_has_no_sign():
    assert number(-0.0001, 2) == "0.00"


def test_decimals_follow_the_uncertainty():
    assert [places(half, 1.0) for half in (5.0, 0.5, 0.05)] == [1, 2, 3]
    assert places(math.inf, 1.0) is None
